package main

import "github.com/spf13/cobra"

// completion prints what has a shell complete commands and flags. cobra's own takes a shell that
// it does not know for a question, and succeeds.
func (o *operator) completion() *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print the script by which bash, zsh or fish completes commands and flags",
		Example: `  source <(quittance completion bash)
  quittance completion zsh > "${fpath[1]}/_quittance"
  quittance completion fish > ~/.config/fish/completions/quittance.fish`,
		ValidArgs: []cobra.Completion{"bash", "zsh", "fish"},
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			root, out := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			}
			return root.GenBashCompletionV2(out, true)
		},
	}
}
