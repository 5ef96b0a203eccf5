package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// target is the server that is driven, and how it is reached.
type target struct {
	address string
	tls     *tls.Config
}

// targetFlags are the flags of every driver that is a client of the server.
func targetFlags(flags *flag.FlagSet) func() (*target, error) {
	address := flags.String("address", "", "host:port of the server")
	certificate := flags.String("cert", "", "the client's certificate")
	key := flags.String("key", "", "its key")
	ca := flags.String("ca", "", "the server's CA")
	return func() (*target, error) {
		pair, err := tls.LoadX509KeyPair(*certificate, *key)
		if err != nil {
			return nil, err
		}
		pool, err := certificates(*ca)
		if err != nil {
			return nil, err
		}
		return &target{*address, &tls.Config{
			MinVersion:   tls.VersionTLS13,
			Certificates: []tls.Certificate{pair},
			RootCAs:      pool,
			ServerName:   "localhost",
			NextProtos:   []string{"http/1.1"},
		}}, nil
	}
}

// dial opens a connection and finishes the handshake.
func (t *target) dial(protocol string) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	config := t.tls
	if protocol != "http/1.1" {
		config = config.Clone()
		config.NextProtos = []string{protocol}
	}
	dialer := tls.Dialer{NetDialer: &net.Dialer{}, Config: config}
	connection, err := dialer.DialContext(ctx, "tcp", t.address)
	if err != nil {
		return nil, err
	}
	encrypted := connection.(*tls.Conn)
	if got := encrypted.ConnectionState().NegotiatedProtocol; protocol == "h2" && got != "h2" {
		_ = encrypted.Close()
		return nil, fmt.Errorf("the server speaks %q, not h2", got)
	}
	return encrypted, nil
}

// http1 is one HTTP/1.1 connection on which one request goes after the other.
type http1 struct {
	connection *tls.Conn
	reader     *bufio.Reader
}

func (t *target) http1() (*http1, error) {
	connection, err := t.dial("http/1.1")
	if err != nil {
		return nil, err
	}
	return &http1{connection, bufio.NewReaderSize(connection, 64<<10)}, nil
}

// exchange sends a request as it stands and gives back the answer, whose body the caller reads and closes.
func (c *http1) exchange(request []byte) (*http.Response, error) {
	if err := c.connection.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := c.connection.Write(request); err != nil {
		return nil, err
	}
	return http.ReadResponse(c.reader, nil)
}

// rendered gives a request of HTTP/1.1; lines are header lines, separated by |.
func rendered(method, path, lines, body string) []byte {
	var out strings.Builder
	fmt.Fprintf(&out, "%s %s HTTP/1.1\r\nHost: localhost\r\n", method, path)
	for line := range strings.SplitSeq(lines, "|") {
		if line != "" {
			out.WriteString(line + "\r\n")
		}
	}
	if body != "" {
		fmt.Fprintf(&out, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	out.WriteString("\r\n" + body)
	return []byte(out.String())
}

// pathsIn reads a file of one path a line.
func pathsIn(file string) ([]string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	paths := strings.Fields(string(content))
	if len(paths) == 0 {
		return nil, fmt.Errorf("no path in %s", file)
	}
	return paths, nil
}

// quantile of sorted durations, in microseconds.
func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[int(q*float64(len(sorted)-1)+0.5)]) / 1e3
}

// merged gives all durations, sorted.
func merged(parts [][]time.Duration) []time.Duration {
	all := slices.Concat(parts...)
	slices.Sort(all)
	return all
}
