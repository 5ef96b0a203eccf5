// headcount-collector reads headcount's log and audit files and forwards them: an OpenTelemetry Collector that is made of
// no more than config.yaml needs.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/open-telemetry/opentelemetry-collector-contrib/exporter/fileexporter"
	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/storage/filestorage"
	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/filelogreceiver"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/envprovider"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/otlpexporter"
	"go.opentelemetry.io/collector/exporter/otlphttpexporter"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/featuregate"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"
)

func factories() (otelcol.Factories, error) {
	receivers, err := otelcol.MakeFactoryMap[receiver.Factory](filelogreceiver.NewFactory())
	if err != nil {
		return otelcol.Factories{}, err
	}
	exporters, err := otelcol.MakeFactoryMap[exporter.Factory](
		fileexporter.NewFactory(), otlpexporter.NewFactory(), otlphttpexporter.NewFactory())
	if err != nil {
		return otelcol.Factories{}, err
	}
	extensions, err := otelcol.MakeFactoryMap[extension.Factory](filestorage.NewFactory())
	return otelcol.Factories{
		Receivers:  receivers,
		Exporters:  exporters,
		Extensions: extensions,
		Telemetry:  otelconftelemetry.NewFactory(),
	}, err
}

// Lines are forwarded before they count as read: without this a kill loses those in between.
const forwardedBeforeRead = "stanza.synchronousLogEmitter"

// A kill in the middle of a write leaves half a line in a file of the file exporters. It is ended, so that the next line is one
// of its own; what was in it wasn't read as far as the notes say, and comes again.
func endHalfLines() {
	folder := os.Getenv("COLLECTOR_OUTPUT")
	if folder == "" {
		folder = "/var/lib/headcount-collector"
	}
	// The pattern is well-formed.
	files, _ := filepath.Glob(filepath.Join(folder, "*.jsonl"))
	for _, path := range files {
		if err := endHalfLine(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}

func endHalfLine(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	found, err := file.Stat()
	if err != nil || found.Size() == 0 {
		return err
	}
	last := make([]byte, 1)
	if _, err := file.ReadAt(last, found.Size()-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err = file.WriteString("\n")
	return err
}

func main() {
	endHalfLines()
	if err := featuregate.GlobalRegistry().Set(forwardedBeforeRead, true); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	command := otelcol.NewCommand(otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{
			Command:     "headcount-collector",
			Description: "reads headcount's log and audit files and forwards them",
			Version:     "0.2.0",
		},
		Factories: factories,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{
			ResolverSettings: confmap.ResolverSettings{
				ProviderFactories: []confmap.ProviderFactory{fileprovider.NewFactory(), envprovider.NewFactory()},
				DefaultScheme:     "env",
			},
		},
	})
	if err := command.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
