package main

import (
	"context"
	"errors"
	"flag"
	"strconv"
	"syscall"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// drain lists every Deployment in protobuf, a page at a time, and drops what it reads: what a sync takes at least.
func drain(arguments []string) error {
	flags := flag.NewFlagSet("drain", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig of the cluster")
	limit := flags.Int("limit", 500, "Deployments a page")
	_ = flags.Parse(arguments)

	clients, err := clusterClient(*kubeconfig)
	if err != nil {
		return err
	}
	client := clients.AppsV1().RESTClient()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	started := time.Now()
	bytes, pages, next := 0, 0, ""
	for {
		page, err := client.Get().AbsPath("/apis/apps/v1/deployments").
			Param("limit", strconv.Itoa(*limit)).Param("continue", next).
			SetHeader("Accept", "application/vnd.kubernetes.protobuf").
			Do(ctx).Raw()
		if err != nil {
			return err
		}
		bytes, pages = bytes+len(page), pages+1
		if next, err = continueToken(page); err != nil {
			return err
		}
		if next == "" {
			break
		}
	}
	seconds := time.Since(started).Seconds()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return err
	}
	cpu := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	return report(map[string]any{"seconds": seconds, "cpuSeconds": cpu.Seconds(), "bytes": bytes, "pages": pages})
}

// continueToken reads the list's first field alone, its metadata.
func continueToken(page []byte) (string, error) {
	const envelope = "k8s\x00"
	if len(page) < len(envelope) || string(page[:len(envelope)]) != envelope {
		return "", errors.New("the page isn't protobuf")
	}
	var unknown runtime.Unknown
	if err := unknown.Unmarshal(page[len(envelope):]); err != nil {
		return "", err
	}
	number, _, length := protowire.ConsumeTag(unknown.Raw)
	if number != 1 || length < 0 {
		return "", errors.New("the list doesn't begin with its metadata")
	}
	field, length := protowire.ConsumeBytes(unknown.Raw[length:])
	if length < 0 {
		return "", protowire.ParseError(length)
	}
	var metadata metav1.ListMeta
	if err := metadata.Unmarshal(field); err != nil {
		return "", err
	}
	return metadata.Continue, nil
}
