package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"rsc.io/qr"

	"nethost/sdk/client"
	v1 "nethost/sdk/client/nethostv1"
)

func inviteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "invite",
		Short: "let another machine join the network",
		Long: `Asks the running node for an invite and prints it: one string, and on a terminal a
QR code of it. On the other machine, ` + "`nethost join STRING`" + ` is all it takes.

The string holds this node's id, its addresses and a secret; whoever has it can
fetch the network key from this node until it expires or is used up. The network key
itself is not in it.`,
	}
	f := cmd.Flags()
	expires := f.Duration("expires", 24*time.Hour, "how long it is good")
	uses := f.Int("uses", 1, "how many nodes may join with it")
	addrs := f.StringSlice("addr", nil, "where others reach this node, HOST:PORT (default its own addresses)")
	asJSON := cmd.PersistentFlags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		if len(a) > 0 {
			return group(cmd, a)
		}
		c, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		r, err := client.New(c.Socket).CreateInvite(cmd.Context(), *expires, *uses, *addrs)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), map[string]any{"text": r.Text, "id": r.Invite.Id, "expires": r.Invite.Expires,
				"uses": r.Invite.Uses, "addrs": r.Addrs})
		}
		fmt.Fprintln(cmd.OutOrStdout(), r.Text)
		if file, ok := cmd.OutOrStdout().(*os.File); ok && term.IsTerminal(int(file.Fd())) {
			if err := writeQR(cmd.ErrOrStderr(), r.Text); err != nil {
				return err
			}
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "nethost: invite %s is good for %d use(s) until %s, at %s; it is a secret: type `nethost join STRING` on the other machine\n",
			r.Invite.Id, r.Invite.Uses, r.Invite.Expires, strings.Join(r.Addrs, ", "))
		return nil
	}
	cmd.Args = cobra.ArbitraryArgs
	cmd.AddCommand(inviteListCommand(asJSON), inviteRevokeCommand(asJSON))
	return cmd
}

func inviteListCommand(asJSON *bool) *cobra.Command {
	return &cobra.Command{Use: "ls", Aliases: []string{"list"}, Short: "list the invites, those that are over included", Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			r, err := client.New(c.Socket).Invites(cmd.Context())
			if err != nil {
				return err
			}
			if *asJSON {
				list := r.Invites
				if list == nil {
					list = []*v1.Invite{}
				}
				return printJSON(cmd.OutOrStdout(), map[string]any{"invites": list})
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "INVITE\tSTATE\tUSED\tEXPIRES\tBY")
			for _, i := range r.Invites {
				var by []string
				for _, n := range i.Redeemed {
					by = append(by, n[:min(8, len(n))])
				}
				fmt.Fprintf(w, "%s\t%s\t%d/%d\t%s\t%s\n", i.Id, i.State, len(i.Redeemed), i.Uses, i.Expires, strings.Join(by, " "))
			}
			return w.Flush()
		}}
}

func inviteRevokeCommand(asJSON *bool) *cobra.Command {
	return &cobra.Command{Use: "revoke ID", Short: "end an invite", Args: args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, a []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			if err := client.New(c.Socket).RevokeInvite(cmd.Context(), a[0]); err != nil {
				return err
			}
			if *asJSON {
				return printJSON(cmd.OutOrStdout(), map[string]string{"revoked": a[0]})
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "nethost: invite %s is revoked; nodes that have used it have the network key\n", a[0])
			return nil
		}}
}

// writeQR draws a QR code with two modules a character, light on dark and dark on
// light alike, since scanners want the quiet zone light: colours are set.
func writeQR(w io.Writer, text string) error {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return fmt.Errorf("qr code: %w", err)
	}
	const quiet = 2
	var b strings.Builder
	for y := -quiet; y < code.Size+quiet; y += 2 {
		b.WriteString("\x1b[30;107m")
		for x := -quiet; x < code.Size+quiet; x++ {
			b.WriteString([]string{" ", "▀", "▄", "█"}[dark(code, x, y)+2*dark(code, x, y+1)])
		}
		b.WriteString("\x1b[0m\n")
	}
	_, err = io.WriteString(w, b.String())
	return err
}

func dark(c *qr.Code, x, y int) int {
	if c.Black(x, y) {
		return 1
	}
	return 0
}
