package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"time"
)

// write sets a count in turn at the API server itself (a patch of the scale) and through the server, so that both meet the
// same API server.
func write(arguments []string) error {
	flags := flag.NewFlagSet("write", flag.ExitOnError)
	to := targetFlags(flags)
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig of the cluster")
	namespace, name := flags.String("namespace", "", "namespace"), flags.String("name", "", "Deployment that is changed")
	n := flags.Int("n", 200, "writes of each kind")
	_ = flags.Parse(arguments)

	server, err := to()
	if err != nil {
		return err
	}
	client, err := clusterClient(*kubeconfig)
	if err != nil {
		return err
	}
	d := &deployment{client, *namespace, *name}
	connection, err := server.http1()
	if err != nil {
		return err
	}
	defer connection.connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()

	var direct, through []time.Duration
	for i := range *n {
		began := time.Now()
		if err := d.patch(ctx, 100+i%50); err != nil {
			return err
		}
		direct = append(direct, time.Since(began))
		// The server has seen the patch by then: a write that is judged on an older state would be tried twice.
		time.Sleep(5 * time.Millisecond)
		began = time.Now()
		put := rendered("PUT", d.path(), "", fmt.Sprintf(`{"replicaCount":%d}`, 200+i%50))
		status, _, err := drained(connection.exchange(put))
		if err != nil {
			return err
		}
		if status != 200 {
			return fmt.Errorf("a write was answered with %d", status)
		}
		through = append(through, time.Since(began))
		time.Sleep(5 * time.Millisecond)
	}
	slices.Sort(direct)
	slices.Sort(through)
	return report(map[string]any{
		"n": *n, "directP50us": quantile(direct, .5), "directP99us": quantile(direct, .99),
		"throughP50us": quantile(through, .5), "throughP99us": quantile(through, .99),
	})
}
