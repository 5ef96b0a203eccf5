// verdicts says what Go's crypto/x509 makes of chains, as a TLS server of Go asks it: `verdicts FOLDER SECONDS`, where FOLDER holds a
// folder for each scene, with roots.pem, others.pem and the leaves *.der, and SECONDS is the time since 1970 at which they are judged.
// One line a leaf: SCENE/LEAF, a tab, and OK or the error.
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "verdicts FOLDER SECONDS")
		os.Exit(64)
	}
	seconds, err := strconv.ParseInt(os.Args[2], 10, 64)
	if err == nil {
		err = judge(os.Args[1], time.Unix(seconds, 0))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func judge(folder string, now time.Time) error {
	scenes, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for _, scene := range scenes {
		path := filepath.Join(folder, scene.Name())
		roots, broken := certificates(filepath.Join(path, "roots.pem"))
		others, err := certificates(filepath.Join(path, "others.pem"))
		if broken == nil {
			broken = err
		}
		leaves, err := filepath.Glob(filepath.Join(path, "*.der"))
		if err != nil {
			return err
		}
		sort.Strings(leaves)
		for _, leaf := range leaves {
			verdict := broken
			if verdict == nil {
				verdict = verify(leaf, roots, others, now)
			}
			text := "OK"
			if verdict != nil {
				text = strings.ReplaceAll(verdict.Error(), "\n", " ")
			}
			fmt.Fprintf(out, "%s/%s\t%s\n", scene.Name(), filepath.Base(leaf), text)
		}
	}
	return nil
}

func verify(path string, roots, others []*x509.Certificate, now time.Time) error {
	der, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	options := x509.VerifyOptions{
		Roots:         pool(roots),
		Intermediates: pool(others),
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	_, err = leaf.Verify(options)
	return err
}

func pool(certificates []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, certificate := range certificates {
		pool.AddCert(certificate)
	}
	return pool
}

// certificates reads a bundle; as in a handshake, one that can't be read spoils it.
func certificates(path string) ([]*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all []*x509.Certificate
	for {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			return all, nil
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, certificate)
	}
}
