package main

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"nethost/host/module"
	"nethost/host/module/wasm"
)

func diffCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "what a new version of a package asks for, beside the old one",
		Long: `Compares what two packages ask for: grants, limits, ids, and leaving the sandbox. Ends
with 0 when NEW asks for nothing more than OLD, and with 4 when it does: such an upgrade
waits for "nethost module approve".`,
		Args: args(cobra.ExactArgs(2)),
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		var m [2]*module.Manifest
		for i, path := range a {
			p, err := module.ReadPackage(path)
			if err != nil {
				return module.PathFault(path, err)
			}
			m[i] = &p.Manifest
		}
		d := module.Diff(m[0], m[1])
		if *asJSON {
			if d == nil {
				d = module.Delta{}
			}
			if err := printJSON(cmd.OutOrStdout(), map[string]any{"old": m[0].Release, "new": m[1].Release, "widens": d.Widens(), "changes": d}); err != nil {
				return err
			}
		} else {
			for _, c := range d {
				fmt.Fprintln(cmd.OutOrStdout(), c)
			}
		}
		if d.Widens() {
			return refusedError{fmt.Errorf("%s %s asks for more than %s: %s", m[1].Name, m[1].Release, m[0].Release, d.Wider())}
		}
		return nil
	}
	return cmd
}

// inspection is what can be said of a file without running it.
type inspection struct {
	Path      string         `json:"path"`
	Kind      string         `json:"kind"` // package, wasm or program
	Name      string         `json:"name,omitempty"`
	Release   string         `json:"release,omitempty"`
	Carrier   module.Kind    `json:"carrier,omitempty"`
	IDs       []string       `json:"ids,omitempty"`
	Methods   []string       `json:"methods,omitempty"`
	Asks      []string       `json:"asks,omitempty"`
	Config    []module.Field `json:"config,omitempty"`
	Digest    string         `json:"blake3,omitempty"`
	Publisher string         `json:"publisher,omitempty"`
	Signature string         `json:"signature"`
	Program   string         `json:"program,omitempty"`
	Imports   []string       `json:"imports,omitempty"`
	Exports   []string       `json:"exports,omitempty"`
	Functions int            `json:"functions,omitempty"`
	Memory    string         `json:"memory,omitempty"`
	Refused   []string       `json:"refused"` // why this node would not run it
}

func inspectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect PATH",
		Short: "what a package, a .wasm or a program is and asks for, and why it would be refused",
		Long: `Reads a package's folder, a .wasm or a program, and runs nothing of it: ids, versions,
imports, exports, wants, memory, digest, signature, and each reason why this node would
refuse it. Ends with 0 if it would be taken and with 4 if not.`,
		Args: args(cobra.ExactArgs(1)),
	}
	cmd.Flags().Bool("dev", false, "decide as `nethost run --dev` would")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, a []string) error {
		c, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		in, err := inspect(c, a[0])
		if err != nil {
			return err
		}
		if *asJSON {
			err = printJSON(cmd.OutOrStdout(), in)
		} else {
			in.show(cmd.OutOrStdout())
		}
		if err == nil && len(in.Refused) > 0 {
			err = refusedError{fmt.Errorf("%s would be refused: %s", a[0], in.Refused[0])}
		}
		return err
	}
	return cmd
}

// inspect looks at a path. An error is one of reading it at all.
func inspect(c *Config, path string) (*inspection, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	in := &inspection{Path: path, Kind: "package", Signature: string(module.Unsigned), Refused: []string{}}
	memory := module.DefaultLimits.Memory
	artifact := path
	p, err := module.ReadPackage(path)
	switch {
	case err == nil:
		in.manifest(c, p)
		memory, artifact = p.Manifest.Limits.Memory, p.Artifact
	case info.IsDir():
		in.Refused = append(in.Refused, module.PathFault(path, err).Error())
		return in, nil
	default:
		in.Kind = "program"
	}
	if artifact == "" {
		return in, nil
	}
	head := make([]byte, 4)
	f, ferr := os.Open(artifact)
	if ferr != nil {
		return in, nil // the package's check has told
	}
	defer f.Close()
	_, _ = io.ReadFull(f, head)
	isWasm := bytes.Equal(head, []byte("\x00asm"))
	if in.Digest == "" {
		sum, derr := module.Digest(artifact)
		if derr != nil {
			return nil, derr
		}
		in.Digest = hex.EncodeToString(sum[:])
	}
	if isWasm || in.Carrier == module.Wasm {
		bin, rerr := os.ReadFile(artifact)
		if rerr != nil {
			return nil, rerr
		}
		in.wasm(bin, memory)
	} else {
		in.program(artifact, head)
	}
	if err != nil && isWasm {
		in.Kind = "wasm"
	}
	if err != nil && (isWasm || strings.HasSuffix(path, ".wasm")) {
		in.refuse(module.PathFault(path, err))
	}
	return in, nil
}

// refuse notes a reason once.
func (in *inspection) refuse(err error) {
	for _, r := range in.Refused {
		if strings.HasSuffix(err.Error(), r) || strings.HasSuffix(r, err.Error()) {
			return
		}
	}
	in.Refused = append(in.Refused, err.Error())
}

func (in *inspection) manifest(c *Config, p *module.Package) {
	m := &p.Manifest
	in.Name, in.Release, in.Carrier, in.Methods, in.Config, in.Publisher = m.Name, m.Release, m.Carrier, m.Methods, m.Schema, m.Publisher
	for _, s := range m.Subprotocols {
		id := fmt.Sprintf("%v@%v from %v", s.ID, s.Version, s.MinPeer)
		if s.Required {
			id += ", required"
		}
		in.IDs = append(in.IDs, id)
	}
	for _, a := range m.Asks() {
		if kind, _, _ := strings.Cut(a.Name, ":"); kind == "id" || kind == "required" {
			continue // told with the ids
		}
		in.Asks = append(in.Asks, strings.TrimSpace(a.Name+" "+a.Amount()))
	}
	if m.HasDigest {
		in.Digest = hex.EncodeToString(m.Digest[:])
	}
	opts := moduleOptions(c)
	if _, signed := p.PublisherKey(); signed {
		in.Signature = "good"
	} else if p.SignatureError != nil {
		in.Signature = "bad: " + p.Fault(p.SignatureError).Error()
	}
	s, err := opts.Admit(p)
	if err != nil {
		in.refuse(p.Fault(err))
	}
	if s.Standing.Voucher != "" && in.Signature == "good" {
		in.Signature += ", " + strings.TrimSpace(string(s.Standing.Voucher)+" "+s.Standing.Label)
	}
}

func (in *inspection) wasm(bin []byte, memory uint64) {
	w := wasm.Inspect(bin, memory)
	in.Program = "WebAssembly core module"
	if strings.HasPrefix(w.Refused, "is a component") {
		in.Program = "WebAssembly component"
	}
	in.Imports, in.Exports, in.Functions = w.Imports, w.Exports, w.Functions
	if w.MemoryMin > 0 {
		in.Memory = size(w.MemoryMin) + " to start"
	}
	if w.MemoryMax > 0 {
		in.Memory += ", " + size(w.MemoryMax) + " at most by itself"
	}
	if w.Refused != "" {
		in.refuse(errors.New("the binary " + w.Refused))
	}
}

// program looks at a native program or a script.
func (in *inspection) program(path string, head []byte) {
	for _, kind := range []func(string) (string, error){inspectELF, inspectMachO, inspectPE} {
		text, err := kind(path)
		if text == "" {
			continue
		}
		in.Program = text
		if err != nil {
			in.refuse(err)
		}
	}
	if bytes.HasPrefix(head, []byte("#!")) {
		in.Program = "script"
	}
	if in.Program == "" {
		in.Program = "unknown"
		in.refuse(errors.New("neither WebAssembly nor a program for any system known here"))
		return
	}
	if bi, err := buildinfo.ReadFile(path); err == nil {
		in.Program += fmt.Sprintf(", built with %s from %s", bi.GoVersion, bi.Path)
	}
	if info, err := os.Stat(path); err == nil && info.Mode()&0o111 == 0 && runtime.GOOS != "windows" {
		in.refuse(fmt.Errorf("not executable: chmod +x %s", path))
	}
}

// wrongMachine complains of a program for another system.
func wrongMachine(goos, arch string) error {
	if goos == runtime.GOOS && arch == runtime.GOARCH {
		return nil
	}
	return fmt.Errorf("a program for %s/%s: this machine is %s/%s", goos, arch, runtime.GOOS, runtime.GOARCH)
}

func inspectELF(path string) (string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return "", nil
	}
	defer f.Close()
	arch, ok := map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_386: "386", elf.EM_ARM: "arm", elf.EM_RISCV: "riscv64"}[f.Machine]
	if !ok {
		arch = f.Machine.String()
	}
	goos := "linux"
	if f.OSABI == elf.ELFOSABI_FREEBSD {
		goos = "freebsd"
	}
	text := "ELF program for " + goos + "/" + arch
	if libs, err := f.ImportedLibraries(); err == nil && len(libs) > 0 {
		text += ", needs " + strings.Join(libs, ", ")
	}
	return text, wrongMachine(goos, arch)
}

func inspectMachO(path string) (string, error) {
	f, err := macho.Open(path)
	if err != nil {
		return "", nil
	}
	defer f.Close()
	arch := map[macho.Cpu]string{macho.CpuAmd64: "amd64", macho.CpuArm64: "arm64"}[f.Cpu]
	return "Mach-O program for darwin/" + arch, wrongMachine("darwin", arch)
}

func inspectPE(path string) (string, error) {
	f, err := pe.Open(path)
	if err != nil {
		return "", nil
	}
	defer f.Close()
	arch := map[uint16]string{pe.IMAGE_FILE_MACHINE_AMD64: "amd64", pe.IMAGE_FILE_MACHINE_ARM64: "arm64", pe.IMAGE_FILE_MACHINE_I386: "386"}[f.Machine]
	return "PE program for windows/" + arch, wrongMachine("windows", arch)
}

func (in *inspection) show(out io.Writer) {
	tw := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	row := func(k string, v ...string) {
		for i, s := range v {
			if i > 0 {
				k = ""
			}
			if s != "" {
				fmt.Fprintf(tw, "%s\t%s\n", k, s)
			}
		}
	}
	row("kind", in.Kind)
	row("name", strings.TrimSpace(in.Name+" "+in.Release))
	row("carrier", string(in.Carrier))
	row("ids", in.IDs...)
	row("methods", strings.Join(in.Methods, ", "))
	row("asks for", in.Asks...)
	for _, f := range in.Config {
		text := f.Key + " (" + f.Type
		if f.Required {
			text += ", required)"
		} else {
			text += fmt.Sprintf(", default %q)", f.Default)
		}
		row("config", strings.TrimSpace(text+" "+f.Description))
	}
	row("blake3", in.Digest)
	row("publisher", in.Publisher)
	row("signature", in.Signature)
	row("program", in.Program)
	row("memory", in.Memory)
	row("imports", in.Imports...)
	row("exports", in.Exports...)
	row("refused", in.Refused...)
	tw.Flush()
}
