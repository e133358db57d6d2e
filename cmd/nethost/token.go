package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"nethost/sdk"
	"nethost/sdk/client"
	"nethost/sdk/token"
)

func tokenCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "permission tokens: who may do what", Args: cobra.ArbitraryArgs, RunE: group,
		Long: `A token says, signed by its issuer, who may do what with which resource. It can be
handed on with less, and made void by a floor that every node learns of.

  nethost token issue --to NODE --scope publish --resource 'sensors/*'
  nethost token verify TOKEN --as NODE --scope publish --resource sensors/temp --root NODE
  nethost token revoke --below 2`}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(tokenIssue(), tokenDelegate(), tokenShow(), tokenVerify(), tokenRevoke(), tokenFloors())
	return cmd
}

// tokenFields are the flags that say what a new link permits.
type tokenFields struct {
	key, scope, resource string
	to                   []string
	generation           uint64
	depth                uint8
	ends                 time.Duration
	asJSON               bool
}

func (t *tokenFields) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.key, "key", "", "file of the issuer's key (default DATA/node.key)")
	f.StringSliceVar(&t.to, "to", nil, "NodeID that may use it; may be given 16 times")
	f.StringVar(&t.scope, "scope", "", "rights with commas: publish, subscribe, call, serve, store, admin, delegate")
	f.StringVar(&t.resource, "resource", "", "name or pattern: sensors/temp, sensors/*, sensors/**")
	f.Uint64Var(&t.generation, "generation", 0, "void once the issuer's floor is above it (default: the floor known here, at least 1)")
	f.Uint8Var(&t.depth, "depth", 0, "how many links may follow; needs the right delegate")
	f.DurationVar(&t.ends, "for", 0, "holds for so long from now, by the wall clock (default: without end)")
	f.BoolVar(&t.asJSON, "json", false, "print JSON")
}

// link makes a token of the flags, and the key that signs it.
func (t *tokenFields) link(cmd *cobra.Command) (token.Token, ed25519.PrivateKey, error) {
	var l token.Token
	cfg, err := loadConfig(cmd)
	if err != nil {
		return l, nil, err
	}
	key, err := issuerKey(cfg, t.key)
	if err != nil {
		return l, nil, err
	}
	if l.Scope, err = token.ParseScope(t.scope); err != nil {
		return l, nil, usageError{err}
	}
	for _, s := range t.to {
		id, err := sdk.ParseNodeID(s)
		if err != nil {
			return l, nil, usageError{fmt.Errorf("--to: %w", err)}
		}
		l.Subjects = append(l.Subjects, id)
	}
	l.Resource, l.Depth, l.Generation = t.resource, t.depth, t.generation
	if t.generation == 0 {
		l.Generation = 1
		if floors, err := knownFloors(cmd, cfg); err == nil {
			l.Generation = max(1, floors.Of(sdk.NodeID(key.Public().(ed25519.PublicKey))))
		}
	}
	if t.ends < 0 {
		return l, nil, usageError{fmt.Errorf("--for %v: want a duration above 0", t.ends)}
	}
	if t.ends > 0 {
		now := time.Now()
		l.NotBefore, l.NotAfter = now.Unix(), now.Add(t.ends).Unix()
	}
	_, err = io.ReadFull(rand.Reader, l.Nonce[:])
	return l, key, err
}

// issuerKey reads the key that signs tokens: a file as node.key is.
func issuerKey(cfg *Config, path string) (ed25519.PrivateKey, error) {
	if path == "" {
		path = filepath.Join(cfg.Data, keyFile)
	}
	text, err := readSecret(path, "issuer's key")
	if err != nil {
		return nil, err
	}
	seed, err := hex.DecodeString(text)
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("issuer's key %s is damaged: want 64 hexadecimal digits", path)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

func printToken(cmd *cobra.Command, c token.Chain, asJSON bool) error {
	if asJSON {
		return printJSON(cmd.OutOrStdout(), map[string]any{"token": c.String(), "links": describe(c)})
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), c)
	return err
}

func tokenIssue() *cobra.Command {
	var t tokenFields
	cmd := &cobra.Command{Use: "issue", Short: "issue a token", Args: args(cobra.NoArgs)}
	t.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		l, key, err := t.link(cmd)
		if err != nil {
			return err
		}
		if err := l.Sign(key); err != nil {
			return usageError{err}
		}
		return printToken(cmd, token.Chain{l}, t.asJSON)
	}
	return cmd
}

func tokenDelegate() *cobra.Command {
	var t tokenFields
	cmd := &cobra.Command{Use: "delegate TOKEN", Short: "hand a token on, with less", Args: args(cobra.ExactArgs(1)),
		Long: "Appends a link to a token that names this node, or the owner of --key, and whose scope\nholds delegate. TOKEN - is read from standard input."}
	t.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		c, err := readToken(cmd, a[0])
		if err != nil {
			return err
		}
		l, key, err := t.link(cmd)
		if err != nil {
			return err
		}
		next, err := c.Delegate(key, l)
		var refusal *token.Refusal
		if errors.As(err, &refusal) {
			return &client.Error{Code: sdk.PermissionDenied, Text: err.Error()}
		} else if err != nil {
			return usageError{err}
		}
		return printToken(cmd, next, t.asJSON)
	}
	return cmd
}

// readToken reads a token that was given as an argument, or by "-" on standard input.
func readToken(cmd *cobra.Command, text string) (token.Chain, error) {
	if text == "-" {
		b, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), 64<<10))
		if err != nil {
			return nil, err
		}
		text = strings.TrimSpace(string(b))
	}
	c, err := token.ParseText(text)
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// linkInfo is one link, for people and for JSON.
type linkInfo struct {
	Issuer     string     `json:"issuer"`
	Subjects   []string   `json:"subjects"`
	Scope      string     `json:"scope"`
	Resource   string     `json:"resource"`
	Generation uint64     `json:"generation"`
	Depth      uint8      `json:"depth"`
	NotBefore  *time.Time `json:"not_before,omitempty"`
	NotAfter   *time.Time `json:"not_after,omitempty"`
}

func describe(c token.Chain) []linkInfo {
	var out []linkInfo
	for i := range c {
		t := &c[i]
		l := linkInfo{Issuer: t.Issuer.String(), Scope: t.Scope.String(), Resource: t.Resource, Generation: t.Generation, Depth: t.Depth}
		for _, s := range t.Subjects {
			l.Subjects = append(l.Subjects, s.String())
		}
		if t.NotAfter != 0 {
			b, e := time.Unix(t.NotBefore, 0).UTC(), time.Unix(t.NotAfter, 0).UTC()
			l.NotBefore, l.NotAfter = &b, &e
		}
		out = append(out, l)
	}
	return out
}

func tokenShow() *cobra.Command {
	cmd := &cobra.Command{Use: "show TOKEN", Short: "what a token says; nothing is verified", Args: args(cobra.ExactArgs(1))}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		c, err := readToken(cmd, a[0])
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), map[string]any{"links": describe(c), "scope": c.Scope().String()})
		}
		w := cmd.OutOrStdout()
		for i, l := range describe(c) {
			fmt.Fprintf(w, "link %d\n  issuer      %s\n  subjects    %s\n  scope       %s\n  resource    %s\n  generation  %d\n  depth       %d\n",
				i+1, l.Issuer, strings.Join(l.Subjects, "\n              "), l.Scope, l.Resource, l.Generation, l.Depth)
			if l.NotAfter != nil {
				fmt.Fprintf(w, "  holds       %s to %s\n", l.NotBefore.Format(time.RFC3339), l.NotAfter.Format(time.RFC3339))
			}
		}
		fmt.Fprintf(w, "together      %s\n", c.Scope())
		return nil
	}
	return cmd
}

func tokenVerify() *cobra.Command {
	cmd := &cobra.Command{Use: "verify TOKEN", Short: "whether a token permits something, and why not", Args: args(cobra.ExactArgs(1)),
		Long: `Verifies a token with the floors that the running node knows, or without any with
--offline. Ends with 0 when it permits what is asked for, with 4 when it does not.`}
	f := cmd.Flags()
	as := f.String("as", "", "NodeID that presents it (default: the first subject of its last link)")
	scope := f.String("scope", "", "the rights wanted")
	resource := f.String("resource", "", "the name, or pattern, wanted (default: the token's own)")
	roots := f.StringSlice("root", nil, "NodeID that may say so; may be given several times")
	offline := f.Bool("offline", false, "without the floors of the running node")
	asJSON := f.Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		c, err := readToken(cmd, a[0])
		if err != nil {
			return err
		}
		leaf := &c[len(c)-1]
		q := token.Request{Presenter: leaf.Subjects[0], Scope: c.Scope() &^ token.Delegate, Resource: leaf.Resource, Wall: time.Now()}
		if *as != "" {
			if q.Presenter, err = sdk.ParseNodeID(*as); err != nil {
				return usageError{fmt.Errorf("--as: %w", err)}
			}
		}
		if *scope != "" {
			if q.Scope, err = token.ParseScope(*scope); err != nil {
				return usageError{err}
			}
		}
		if *resource != "" {
			q.Resource = *resource
		}
		for _, r := range *roots {
			id, err := sdk.ParseNodeID(r)
			if err != nil {
				return usageError{fmt.Errorf("--root: %w", err)}
			}
			q.Roots = append(q.Roots, id)
		}
		if !*offline {
			cfg, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			floors, err := knownFloors(cmd, cfg)
			if err != nil {
				return fmt.Errorf("%w; --offline verifies without floors", err)
			}
			q.Floor = floors.Of
		}
		verr := c.Verify(q)
		if *asJSON {
			reason := ""
			if verr != nil {
				reason = verr.Error()
			}
			if err := printJSON(cmd.OutOrStdout(), map[string]any{"permitted": verr == nil, "reason": reason, "presenter": q.Presenter.String(), "scope": q.Scope.String(), "resource": q.Resource}); err != nil {
				return err
			}
		} else if verr == nil {
			fmt.Fprintf(cmd.OutOrStdout(), "%s may %s %s\n", q.Presenter.Short(), q.Scope, q.Resource)
		}
		if verr != nil {
			return &client.Error{Code: sdk.PermissionDenied, Text: verr.Error()}
		}
		return nil
	}
	return cmd
}
