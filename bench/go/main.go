// Command bench holds the Go server that headcount is measured against (peer) and the drivers of the measurements.
// Every driver prints one line of JSON on stdout when it is done.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

var commands = map[string]func(arguments []string) error{
	"peer":  peer,
	"load":  load,
	"lag":   lag,
	"write": write,
	"drain": drain,
	"idle":  idle,
}

func main() {
	if len(os.Args) > 1 {
		if run, ok := commands[os.Args[1]]; ok {
			if err := run(os.Args[2:]); err != nil {
				fmt.Fprintf(os.Stderr, "bench %s: %v\n", os.Args[1], err)
				os.Exit(1)
			}
			return
		}
	}
	fmt.Fprintln(os.Stderr, "usage: bench peer|load|lag|write|drain|idle -flag …")
	os.Exit(2)
}

// report prints what a driver found.
func report(found any) error {
	return json.NewEncoder(os.Stdout).Encode(found)
}
