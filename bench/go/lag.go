package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// deployment is the one that a driver changes.
type deployment struct {
	client          *kubernetes.Clientset
	namespace, name string
}

func (d *deployment) path() string {
	return fmt.Sprintf("/api/v1/namespaces/%s/deployments/%s/replicas", d.namespace, d.name)
}

// patch sets the count at the API server itself.
func (d *deployment) patch(ctx context.Context, replicas int) error {
	body := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	_, err := d.client.AppsV1().Deployments(d.namespace).Patch(ctx, d.name, types.MergePatchType, body, metav1.PatchOptions{}, "scale")
	return err
}

// lag patches a count at the API server and reads it from the server until it shows: the time from the patch's answer to the
// answer of the first read that has the new count.
func lag(arguments []string) error {
	flags := flag.NewFlagSet("lag", flag.ExitOnError)
	to := targetFlags(flags)
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig of the cluster")
	namespace, name := flags.String("namespace", "", "namespace"), flags.String("name", "", "Deployment that is changed")
	n := flags.Int("n", 200, "changes")
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
	ask := rendered("GET", d.path(), "", "")
	read := func() (int, error) { return countIn(connection.exchange(ask)) }

	before, err := read()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var lags []time.Duration
	reads := 0
	for i := range *n {
		want := 20 + i%50
		if want == before {
			want++
		}
		if err := d.patch(ctx, want); err != nil {
			return err
		}
		patched := time.Now()
		for {
			count, err := read()
			if err != nil {
				return err
			}
			reads++
			if count == want {
				break
			}
			if time.Since(patched) > 20*time.Second {
				return fmt.Errorf("the count %d has not shown within 20 s; it is %d", want, count)
			}
		}
		lags = append(lags, time.Since(patched))
		before = want
		time.Sleep(5 * time.Millisecond)
	}
	slices.Sort(lags)
	return report(map[string]any{
		"n": *n, "p50us": quantile(lags, .5), "p99us": quantile(lags, .99), "readsEach": float64(reads) / float64(*n),
	})
}

func countIn(response *http.Response, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s", response.Status, body)
	}
	var shown count
	err = json.Unmarshal(body, &shown)
	return int(shown.ReplicaCount), err
}
