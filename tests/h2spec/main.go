// Command h2spec holds an HTTP/2 server to RFC 9113 and RFC 7541 by the cases of github.com/summerwind/h2spec, as a client with a
// certificate: h2spec ADDRESS PATH CERTIFICATE KEY REPORT. The report has one line for each case, with tabs between its parts:
// passed, failed or skipped; the case's number; what it is about; and what was expected and seen where it failed.
package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"
)

// How long a case waits for what the server should do.
const timeout = 10 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 5 {
		return fmt.Errorf("usage: h2spec ADDRESS PATH CERTIFICATE KEY REPORT")
	}
	host, text, err := net.SplitHostPort(args[0])
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	// Who the server is, others test.
	settings := &config.Config{
		Host: host, Port: port, Path: args[1], CertFile: args[2], CertKeyFile: args[3],
		TLS: true, Insecure: true, Strict: true, Timeout: timeout, MaxHeaderLen: 4000,
	}
	var report strings.Builder
	for _, group := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
		group.Test(settings)
		tell(&report, group)
	}
	return os.WriteFile(args[4], []byte(report.String()), 0o600)
}

func tell(report *strings.Builder, group *spec.TestGroup) {
	for number, test := range append(group.Tests, group.StrictTests...) {
		outcome, why := "passed", ""
		switch {
		case test.Result == nil:
			outcome, why = "skipped", "it was not run"
		case test.Result.Skipped:
			outcome = "skipped"
		case test.Result.Failed:
			outcome, why = "failed", strings.Join(strings.Fields(test.Result.Error.Error()), " ")
		}
		fmt.Fprintf(report, "%s\t%s/%d\t%s\t%s\n", outcome, group.ID(), number+1, test.Desc, why)
	}
	for _, inner := range group.Groups {
		tell(report, inner)
	}
}
