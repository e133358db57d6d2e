package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"nethost/host/identity"
	"nethost/host/module"
)

const (
	publisherFile = "publisher.key"
	// publisherKeyPrefix keeps a publisher's key and a node's from being taken
	// for each other.
	publisherKeyPrefix = "nethost-publisher-key:"
)

// refusedError is the answer no, as opposed to a failure to find out.
type refusedError struct{ error }

func (e refusedError) Unwrap() error { return e.error }

func keygenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keygen",
		Short: "make a publisher's key, with which packages are signed",
		Long: `Makes a publisher's key (ed25519) in a file that only you can read, and prints the
public half, which operators pass to "nethost module trust". Keep the file off the
nodes: who has it can publish in your name. Nothing that exists is overwritten.`,
		Args: args(cobra.NoArgs),
	}
	out := cmd.Flags().String("out", "", "file of the key (default DATA/"+publisherFile+")")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		path, err := publisherPath(cmd, *out)
		if err != nil {
			return err
		}
		var seed [32]byte
		if _, err := io.ReadFull(rand.Reader, seed[:]); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		err = writeNew(path, publisherKeyPrefix+hex.EncodeToString(seed[:])+"\n", 0o600)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s exists: choose another file with --out", path)
		}
		if err != nil {
			return err
		}
		public := module.PublisherText(identity.NewKey(seed).ID())
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), map[string]string{"publisher": public, "key": path})
		}
		fmt.Fprintln(cmd.OutOrStdout(), public)
		fmt.Fprintf(cmd.ErrOrStderr(), "nethost: the key is in %s: keep it secret, and have a copy\n", path)
		return nil
	}
	return cmd
}

// publisherPath is the file of the publisher's key.
func publisherPath(cmd *cobra.Command, path string) (string, error) {
	if path != "" {
		return path, nil
	}
	c, err := loadConfig(cmd)
	if err != nil {
		return "", err
	}
	return filepath.Join(c.Data, publisherFile), nil
}

func readPublisherKey(path string) (*identity.Key, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("publisher's key %s does not exist: make one with `nethost module keygen`", path)
	}
	text, err := readSecret(path, "publisher's key")
	if err != nil {
		return nil, err
	}
	digits, ok := strings.CutPrefix(text, publisherKeyPrefix)
	seed, err := hex.DecodeString(digits)
	if !ok || err != nil || len(seed) != 32 {
		return nil, fmt.Errorf("publisher's key %s is damaged or another file: want %q and 64 hexadecimal digits", path, publisherKeyPrefix)
	}
	return identity.NewKey([32]byte(seed)), nil
}

func signCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sign PATH",
		Short: "sign a package: a folder with module.toml, or a bare .wasm",
		Long: `Signs the manifest and the artifact of the package in PATH, and writes the signature
beside them: module.sig in a folder, NAME.wasm.sig for a bare .wasm. A manifest that
names no publisher gets the key's. Sign what "nethost module build" made, last.`,
		Args: args(cobra.ExactArgs(1)),
	}
	keyFile := cmd.Flags().String("key", "", "file of the publisher's key (default DATA/"+publisherFile+")")
	comment := cmd.Flags().String("comment", "", "a line that is signed too (default: name and release)")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		path, err := publisherPath(cmd, *keyFile)
		if err != nil {
			return err
		}
		key, err := readPublisherKey(path)
		if err != nil {
			return err
		}
		p, err := module.SignPackage(a[0], key, *comment)
		if err != nil {
			return err
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), map[string]string{"name": p.Manifest.Name, "release": p.Manifest.Release,
				"publisher": p.Manifest.Publisher, "signature": p.SignatureFile, "blake3": hex.EncodeToString(p.Manifest.Digest[:])})
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s %s signed: %s\n", p.Manifest.Name, p.Manifest.Release, p.SignatureFile)
		return nil
	}
	return cmd
}

func verifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify PATH",
		Short: "check a package's signature, digest and publisher",
		Long: `Checks that the package in PATH was signed, that nothing of it was changed since, and
that this node trusts its publisher with it. Ends with 0 if so and with 4 if not.
With --publisher the trust store is not asked: the signature must be of that key.`,
		Args: args(cobra.ExactArgs(1)),
	}
	publisher := cmd.Flags().String("publisher", "", "the public key that must have signed")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		if *publisher != "" {
			if _, err := module.ParsePublisher(*publisher); err != nil {
				return usageError{fmt.Errorf("--publisher: %w", err)}
			}
		}
		c, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		p, err := module.ReadPackage(a[0])
		if err != nil {
			return refusedError{module.PathFault(a[0], err)}
		}
		by, err := verifyPackage(c, p, *publisher)
		if err != nil {
			return refusedError{p.Fault(err)}
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), map[string]string{"name": p.Manifest.Name, "release": p.Manifest.Release,
				"publisher": p.Manifest.Publisher, "label": by, "comment": p.Signature.Comment})
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s %s is signed by %s\n", p.Manifest.Name, p.Manifest.Release, strings.TrimSpace(by+" "+p.Manifest.Publisher))
		return nil
	}
	return cmd
}

// verifyPackage gives the label of the publisher, or why the package is not to be
// trusted.
func verifyPackage(c *Config, p *module.Package, publisher string) (string, error) {
	_, signed := p.PublisherKey()
	switch {
	case p.SignatureError != nil:
		return "", p.SignatureError
	case !signed:
		return "", fmt.Errorf("unsigned: there is no %s", filepath.Base(p.SignatureFile))
	case publisher != "" && p.Manifest.Publisher != publisher:
		return "", fmt.Errorf("signed by %s, not by %s", p.Manifest.Publisher, publisher)
	}
	if err := p.CheckArtifact(); err != nil || publisher != "" {
		return "", err
	}
	opts := moduleOptions(c)
	opts.Unsigned, opts.LockFile, opts.Grants, opts.Overrides = false, "", nil, nil
	s, err := opts.AdmitTrust(p)
	return s.Standing.Label, err
}
