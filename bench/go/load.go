package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// job is a load: who sends what, how long.
type job struct {
	target   *target
	method   string
	paths    []string
	lines    string
	body     string
	warmUp   time.Duration
	duration time.Duration
	workers  int
	// interval between two requests of one worker; 0 for one right after the other.
	interval time.Duration
}

// tally is what one worker has seen after the warm-up.
type tally struct {
	latencies []time.Duration
	bytes     int64
	statuses  map[int]int
	err       error
}

// load drives a server in a closed loop and prints latencies and the server's CPU time. Both count from the end of the
// warm-up on, which opens the connections.
func load(arguments []string) error {
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	to := targetFlags(flags)
	mode := flags.String("mode", "keepalive", "keepalive (HTTP/1.1), handshake (a connection a request), h2")
	connections := flags.Int("connections", 32, "connections")
	streams := flags.Int("streams", 100, "requests at once on an HTTP/2 connection")
	duration := flags.Duration("duration", 3*time.Second, "time that is measured")
	warmUp := flags.Duration("warm-up", 300*time.Millisecond, "time before that")
	pid := flags.Int("pid", 0, "the server's process")
	path := flags.String("path", "", "the one path that is asked for")
	paths := flags.String("paths", "", "or a file of paths, one a line")
	method := flags.String("method", "GET", "method")
	lines := flags.String("headers", "", "further header lines, separated by |")
	group := flags.String("group", "", "key exchange: hybrid (X25519MLKEM768), x25519, or what both sides like best")
	conditional := flags.Bool("conditional", false, "send If-None-Match with the tag of a first answer")
	rate := flags.Int("rate", 0, "requests a second in all; 0 for as many as the server answers")
	_ = flags.Parse(arguments)

	server, err := to()
	if err != nil {
		return err
	}
	switch *group {
	case "":
	case "hybrid":
		server.tls.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768}
	case "x25519":
		server.tls.CurvePreferences = []tls.CurveID{tls.X25519}
	default:
		return fmt.Errorf("no such group: %s", *group)
	}
	j := &job{target: server, method: *method, paths: []string{*path}, lines: *lines, warmUp: *warmUp, duration: *duration}
	if *paths != "" {
		if j.paths, err = pathsIn(*paths); err != nil {
			return err
		}
	}
	if *conditional {
		tag, err := server.tagOf(j.paths[0])
		if err != nil {
			return err
		}
		j.lines += "|If-None-Match: " + tag
	}
	var worker func(j *job, number int) tally
	j.workers = *connections
	switch *mode {
	case "keepalive":
		worker = keepAlive
	case "handshake":
		worker = handshakes
	case "h2":
		j.workers = *connections * *streams
		clients, closeAll, err := multiplexed(server, *connections)
		if err != nil {
			return err
		}
		defer closeAll()
		worker = func(j *job, number int) tally { return stream(j, number, clients[number%len(clients)]) }
	default:
		return fmt.Errorf("no such mode: %s", *mode)
	}
	if *rate > 0 {
		j.interval = time.Duration(j.workers) * time.Second / time.Duration(*rate)
	}
	return j.run(worker, *pid)
}

// tagOf asks once and gives the answer's ETag.
func (t *target) tagOf(path string) (string, error) {
	connection, err := t.http1()
	if err != nil {
		return "", err
	}
	defer connection.connection.Close()
	response, err := connection.exchange(rendered("GET", path, "", ""))
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if tag := response.Header.Get("ETag"); tag != "" {
		return tag, nil
	}
	return "", fmt.Errorf("no ETag at %s", path)
}

// run starts the workers and reports what they have seen.
func (j *job) run(worker func(*job, int) tally, pid int) error {
	tallies := make([]tally, j.workers)
	var workers sync.WaitGroup
	for number := range j.workers {
		workers.Go(func() { tallies[number] = worker(j, number) })
	}
	time.Sleep(j.warmUp)
	before, cpuErr := time.Duration(0), error(nil)
	if pid != 0 {
		before, cpuErr = cpuOf(pid)
	}
	time.Sleep(j.duration)
	var used time.Duration
	if pid != 0 && cpuErr == nil {
		used, cpuErr = cpuOf(pid)
		used -= before
	}
	workers.Wait()
	if cpuErr != nil {
		return cpuErr
	}

	var latencies [][]time.Duration
	var bytes int64
	statuses := map[int]int{}
	failed := 0
	var failures error
	for _, t := range tallies {
		latencies = append(latencies, t.latencies)
		bytes += t.bytes
		for status, n := range t.statuses {
			statuses[status] += n
		}
		if t.err != nil {
			failed++
			failures = t.err
		}
	}
	all := merged(latencies)
	if len(all) == 0 {
		return fmt.Errorf("no request was answered: %w", failures)
	}
	if failures != nil {
		fmt.Fprintln(os.Stderr, "a worker failed:", failures)
	}
	n := float64(len(all))
	return report(map[string]any{
		"requests": len(all), "failed": failed, "statuses": statuses, "perSecond": n / j.duration.Seconds(),
		"bytesEach": float64(bytes) / n, "p50us": quantile(all, .5), "p99us": quantile(all, .99),
		"cpuUs": float64(used.Nanoseconds()) / n / 1e3,
	})
}

// loop calls once, again and again, until the time is over, and notes what falls into the measured part.
func (j *job) loop(number int, once func(path string) (status int, bytes int64, err error)) tally {
	found := tally{statuses: map[int]int{}}
	begin := time.Now()
	from, until := begin.Add(j.warmUp), begin.Add(j.warmUp+j.duration)
	due := begin.Add(j.interval * time.Duration(number) / time.Duration(j.workers))
	for i := number; ; i++ {
		if j.interval > 0 {
			time.Sleep(time.Until(due))
			due = due.Add(j.interval)
		}
		started := time.Now()
		if started.After(until) {
			return found
		}
		// A prime far from the number of workers, so that they walk through all paths, each in its own order.
		status, bytes, err := once(j.paths[(i*7919)%len(j.paths)])
		if err != nil {
			found.err = err
			return found
		}
		if ended := time.Now(); ended.After(from) && ended.Before(until) {
			found.latencies = append(found.latencies, ended.Sub(started))
			found.bytes += bytes
			found.statuses[status]++
		}
	}
}

func keepAlive(j *job, number int) tally {
	connection, err := j.target.http1()
	if err != nil {
		return tally{err: err}
	}
	defer connection.connection.Close()
	return j.loop(number, func(path string) (int, int64, error) {
		return drained(connection.exchange(rendered(j.method, path, j.lines, j.body)))
	})
}

func handshakes(j *job, number int) tally {
	return j.loop(number, func(path string) (int, int64, error) {
		connection, err := j.target.http1()
		if err != nil {
			return 0, 0, err
		}
		defer connection.connection.Close()
		return drained(connection.exchange(rendered(j.method, path, j.lines, j.body)))
	})
}

// multiplexed opens HTTP/2 connections.
func multiplexed(server *target, connections int) ([]*http2.ClientConn, func(), error) {
	transport := &http2.Transport{StrictMaxConcurrentStreams: true, DisableCompression: true}
	var clients []*http2.ClientConn
	closeAll := func() {
		for _, client := range clients {
			_ = client.Close()
		}
	}
	for range connections {
		connection, err := server.dial("h2")
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		client, err := transport.NewClientConn(connection)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		clients = append(clients, client)
	}
	return clients, closeAll, nil
}

func stream(j *job, number int, client *http2.ClientConn) tally {
	return j.loop(number, func(path string) (int, int64, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, j.method, "https://localhost"+path, nil)
		if err != nil {
			return 0, 0, err
		}
		return drained(client.RoundTrip(request))
	})
}

// drained reads an answer to its end.
func drained(response *http.Response, err error) (int, int64, error) {
	if err != nil {
		return 0, 0, err
	}
	n, err := io.Copy(io.Discard, response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return 0, 0, err
	}
	if response.Close {
		return 0, 0, errors.New("the server closed the connection")
	}
	return response.StatusCode, n, nil
}
