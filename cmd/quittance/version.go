package main

import (
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// version says which program this is.
func (o *operator) version() *cobra.Command {
	var format outputFormat
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Show which version this is, and what it was built from",
		Example: "  quittance version\n  quittance version -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info, _ := debug.ReadBuildInfo() // nil in no build of ours
			built := builtFrom(info)
			return format.show(cmd, built.text(), built)
		},
	}
	format.flag(cmd)
	return cmd
}

// build is what the toolchain has noted in the program.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"`     // of the revision
	Modified bool   `json:"modified,omitempty"` // the tree was not the revision's
	Go       string `json:"go"`
}

func builtFrom(info *debug.BuildInfo) (b build) {
	if info == nil {
		return build{Version: "unknown"}
	}
	b.Version, b.Go = info.Main.Version, info.GoVersion
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func (b build) text() string {
	words := []string{"quittance", b.Version}
	if b.Revision != "" {
		words = append(words, b.Revision, b.Time)
	}
	if b.Modified {
		words = append(words, "(modified)")
	}
	return strings.Join(append(words, b.Go), " ")
}
