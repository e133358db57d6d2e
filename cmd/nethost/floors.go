package main

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"nethost/sdk"
	"nethost/sdk/client"
	"nethost/sdk/token"
)

// floorAnswer is what the module identity answers.
type floorAnswer struct {
	Floors []struct {
		Issuer          string
		Generation, Seq uint64
		Floor           []byte
	}
	Current bool
}

func askFloors(cmd *cobra.Command, cfg *Config) (a floorAnswer, err error) {
	b, err := client.New(cfg.Socket).Call(cmd.Context(), client.Target{Module: "identity.floors"}, nil)
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	return a, err
}

// knownFloors asks the running node.
func knownFloors(cmd *cobra.Command, cfg *Config) (*token.Floors, error) {
	a, err := askFloors(cmd, cfg)
	if err != nil {
		return nil, err
	}
	var floors token.Floors
	for _, f := range a.Floors {
		parsed, err := token.ParseFloor(f.Floor)
		if err != nil {
			return nil, err
		}
		floors.Put(parsed)
	}
	return &floors, nil
}

func tokenRevoke() *cobra.Command {
	cmd := &cobra.Command{Use: "revoke", Short: "make an issuer's tokens below a generation void, everywhere", Args: args(cobra.NoArgs),
		Long: `Signs a floor with the issuer's key and gives it to the running node, which passes it
to the whole mesh. Floors never fall. With --offline the floor is only signed and
printed; --signed gives such a one to a node elsewhere.`}
	f := cmd.Flags()
	key := f.String("key", "", "file of the issuer's key (default DATA/node.key)")
	below := f.Uint64("below", 0, "the lowest generation that stays good")
	seq := f.Uint64("seq", 0, "sequence of the floor (default: one above what is known here)")
	offline := f.Bool("offline", false, "print the signed floor instead of publishing it")
	signed := f.String("signed", "", "publish this floor, which --offline printed")
	asJSON := f.Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		floor, err := newFloor(cmd, cfg, *signed, *key, *below, *seq, *offline)
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		if *offline {
			_, err := fmt.Fprintln(out, hex.EncodeToString(floor.Append(nil)))
			return err
		}
		b, err := client.New(cfg.Socket).Call(cmd.Context(), client.Target{Module: "identity.publish"}, floor.Append(nil))
		if err != nil {
			return err
		}
		var a struct {
			New        bool
			Neighbours int
		}
		if err := json.Unmarshal(b, &a); err != nil {
			return err
		}
		if *asJSON {
			return printJSON(out, map[string]any{"issuer": floor.Issuer.String(), "generation": floor.Generation, "seq": floor.Seq, "new": a.New, "neighbours": a.Neighbours})
		}
		fmt.Fprintf(out, "tokens of %s below generation %d are void (told %d neighbours)\n", floor.Issuer.Short(), floor.Generation, a.Neighbours)
		return nil
	}
	return cmd
}

func newFloor(cmd *cobra.Command, cfg *Config, signed, key string, below, seq uint64, offline bool) (token.Floor, error) {
	if signed != "" {
		b, err := hex.DecodeString(signed)
		if err != nil {
			return token.Floor{}, usageError{errors.New("--signed: want what --offline printed")}
		}
		f, err := token.ParseFloor(b)
		if err != nil {
			return f, usageError{err}
		}
		return f, nil
	}
	if below == 0 {
		return token.Floor{}, usageError{errors.New("--below: want a generation above 0; what is below it becomes void")}
	}
	private, err := issuerKey(cfg, key)
	if err != nil {
		return token.Floor{}, err
	}
	f := token.Floor{Generation: below, Seq: seq}
	if seq == 0 {
		f.Seq = 1
		if !offline {
			floors, err := knownFloors(cmd, cfg)
			if err != nil {
				return f, err
			}
			old, _ := floors.Get(sdk.NodeID(private.Public().(ed25519.PublicKey)))
			f.Seq = old.Seq + 1
		}
	}
	f.Sign(private)
	return f, nil
}

func tokenFloors() *cobra.Command {
	cmd := &cobra.Command{Use: "floors", Short: "the floors that this node knows", Args: args(cobra.NoArgs)}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	wait := cmd.Flags().Int("wait", 0, "wait until so many are known, and the node has heard all that its neighbours know")
	within := cmd.Flags().Duration("within", 10*time.Second, "how long --wait waits")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		a, err := askFloors(cmd, cfg)
		if cmd.Flags().Changed("wait") {
			if werr := poll(cmd.Context(), *within, fmt.Sprintf("%d floors are known", *wait), func() bool {
				a, err = askFloors(cmd, cfg)
				return err == nil && len(a.Floors) >= *wait && a.Current
			}); werr != nil {
				return fmt.Errorf("%w: %d are (%v)", werr, len(a.Floors), err)
			}
		}
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		if *asJSON {
			list := []map[string]any{}
			for _, f := range a.Floors {
				list = append(list, map[string]any{"issuer": f.Issuer, "generation": f.Generation, "seq": f.Seq, "floor": hex.EncodeToString(f.Floor)})
			}
			return printJSON(out, map[string]any{"floors": list, "current": a.Current})
		}
		for _, f := range a.Floors {
			fmt.Fprintf(out, "%s  below %d  seq %d\n", f.Issuer, f.Generation, f.Seq)
		}
		if !a.Current {
			fmt.Fprintln(cmd.ErrOrStderr(), "nethost: this node has not heard yet what all its neighbours know")
		}
		return nil
	}
	return cmd
}
