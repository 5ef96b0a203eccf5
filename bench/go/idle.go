package main

import (
	"flag"
	"io"
	"os"
)

// idle opens connections, sends one request over each, says so, and keeps them until its stdin ends.
func idle(arguments []string) error {
	flags := flag.NewFlagSet("idle", flag.ExitOnError)
	to := targetFlags(flags)
	path := flags.String("path", "", "what is asked for")
	n := flags.Int("n", 1000, "connections")
	_ = flags.Parse(arguments)

	server, err := to()
	if err != nil {
		return err
	}
	ask := rendered("GET", *path, "", "")
	var open []*http1
	for range *n {
		connection, err := server.http1()
		if err != nil {
			return err
		}
		defer connection.connection.Close()
		if _, _, err := drained(connection.exchange(ask)); err != nil {
			return err
		}
		open = append(open, connection)
	}
	if err := report(map[string]any{"open": len(open)}); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}
