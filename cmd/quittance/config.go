package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/quittance/quittance/cmd/settings"
)

func (o *operator) settings() *cobra.Command {
	format := pageFormat{"text"}
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show every variable that api, worker, quittance and sandbox read, with default and meaning",
		Long: `Show every variable that api, worker, quittance and sandbox read: its type, its default and what
it means. No value of this environment is shown, and no server is asked.

But for paths and QUITTANCE_ENV a value may also stand in a file that NAME_FILE names.`,
		Example: `  quittance config
  quittance config -o json
  quittance config -o markdown > deploy/docs/configuration.md`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return format.show(cmd) },
	}
	cmd.Flags().VarP(&format, "output", "o", "text, json or markdown")
	return cmd
}

// pageFormat is an outputFormat that is also the page of the documentation.
type pageFormat struct{ outputFormat }

// Set takes the three only.
func (f *pageFormat) Set(text string) error {
	if text != "markdown" && f.outputFormat.Set(text) != nil {
		return errors.New("must be text, json or markdown")
	}
	f.outputFormat = outputFormat(text)
	return nil
}

func (f *pageFormat) show(cmd *cobra.Command) error {
	if f.outputFormat == "markdown" {
		_, err := fmt.Fprint(cmd.OutOrStdout(), settings.Markdown())
		return err
	}
	var list []string
	for _, v := range settings.Variables() {
		list = append(list, described(v))
	}
	return f.outputFormat.show(cmd, strings.Join(list, "\n"), settings.Variables())
}

// described is a variable as a terminal shows it.
func described(v settings.Variable) string {
	about := v.Type
	if v.Default != "" {
		about += ", " + v.Default + " by default"
	}
	if len(v.NeededBy) > 0 {
		about += ", needed by " + strings.Join(v.NeededBy, " and ")
	}
	readers := "read by " + strings.Join(v.ReadBy, ", ")
	meaning := strings.ReplaceAll(text.WrapSoft(v.Meaning, 92), "\n", "\n    ")
	return v.Name + "\n    " + about + "; " + readers + "\n    " + meaning
}
