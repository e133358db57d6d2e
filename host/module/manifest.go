package module

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"nethost/sdk"
)

// ManifestName is the file that makes a folder a module package.
const ManifestName = "module.toml"

// Manifest is what module.toml says.
type Manifest struct {
	Name         string
	Publisher    string
	Release      string
	Carrier      Kind
	Artifact     string // file name within the folder
	Digest       [32]byte
	HasDigest    bool
	Subprotocols []sdk.Subprotocol
	Wants        []string // grants asked for, as Grants.List names them
	Wanted       Grants   // the same, with their sizes
	Limits       Limits
	Schema       []Field // the module's configuration
	Methods      []string
}

// LineError is a fault of a file with the line it is in, 0 when it has none.
type LineError struct {
	Line   int
	Reason string
}

func (e *LineError) Error() string {
	if e.Line == 0 {
		return e.Reason
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Reason)
}

// fileManifest is module.toml as its keys stand.
type fileManifest struct {
	Name        string            `toml:"name"`
	Publisher   string            `toml:"publisher"`
	Version     string            `toml:"version"`
	Carrier     string            `toml:"carrier"`
	Artifact    string            `toml:"artifact"`
	Blake3      string            `toml:"blake3"`
	Subprotocol []fileSubprotocol `toml:"subprotocol"`
	Wants       fileWants         `toml:"wants"`
	Limits      fileLimits        `toml:"limits"`
	Config      map[string]any    `toml:"config"`
	API         struct {
		Methods []string `toml:"methods"`
	} `toml:"api"`
}

type fileSubprotocol struct {
	ID       int64  `toml:"id"`
	Version  string `toml:"version"`
	MinPeer  string `toml:"min_peer"`
	Required bool   `toml:"required"`
}

// fileWants and the table [grants.NAME] of a configuration have the same keys.
type fileWants struct {
	State    string   `toml:"state"`
	Data     string   `toml:"data"`
	Announce []string `toml:"announce"`
	Call     []string `toml:"call"`
	Connect  bool     `toml:"connect"`
	Sign     bool     `toml:"sign"`
	Entropy  bool     `toml:"entropy"`
	Secret   bool     `toml:"secret"`
	Wall     bool     `toml:"wall"`
}

type fileLimits struct {
	Memory  string `toml:"memory"`
	CPU     string `toml:"cpu"`
	CPUMax  string `toml:"cpu_max"`
	Mailbox int    `toml:"mailbox"`
	Inline  bool   `toml:"inline"`
}

var (
	nameRule    = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
	releaseRule = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+([-+][0-9A-Za-z.+-]+)?$`)
)

// decodeStrict reads TOML into v: an unknown key is a fault. Faults carry their
// line.
func decodeStrict(text []byte, v any) error {
	dec := toml.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	var missing *toml.StrictMissingError
	var decode *toml.DecodeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &missing):
		first := missing.Errors[0]
		line, _ := first.Position()
		return &LineError{line, fmt.Sprintf("unknown key %q", strings.Join(first.Key(), "."))}
	case errors.As(err, &decode):
		line, _ := decode.Position()
		return &LineError{line, strings.TrimPrefix(decode.Error(), "toml: ")}
	}
	return &LineError{0, err.Error()}
}

// ParseManifest reads module.toml. Its error is a *LineError.
func ParseManifest(text []byte) (Manifest, error) {
	var f fileManifest
	if err := decodeStrict(text, &f); err != nil {
		return Manifest{}, err
	}
	fault := func(key, format string, a ...any) (Manifest, error) {
		return Manifest{}, &LineError{lineOf(text, key), fmt.Sprintf(format, a...)}
	}
	_, publisherErr := ParsePublisher(f.Publisher)
	m := Manifest{Name: f.Name, Publisher: f.Publisher, Release: f.Version, Carrier: Kind(f.Carrier), Artifact: f.Artifact, Methods: f.API.Methods}
	switch {
	case !nameRule.MatchString(f.Name):
		return fault("name", "name = %q: want lower-case letters, digits and dashes, a letter first", f.Name)
	case !releaseRule.MatchString(f.Version):
		return fault("version", "version = %q: want a release such as \"0.3.1\"", f.Version)
	case !slices.Contains([]Kind{Builtin, Wasm, Process}, m.Carrier):
		return fault("carrier", "carrier = %q: want builtin, wasm or process", f.Carrier)
	case f.Publisher != "" && publisherErr != nil:
		return fault("publisher", "%v", publisherErr)
	case m.Carrier != Builtin && (f.Artifact == "" || f.Artifact != filepath.Base(f.Artifact) || strings.HasPrefix(f.Artifact, ".")):
		return fault("artifact", "artifact = %q: want the name of a file in this folder", f.Artifact)
	case len(f.Subprotocol) == 0:
		return fault("", "no [[subprotocol]]: a module answers to one id at least")
	}
	if f.Blake3 != "" {
		sum, err := hex.DecodeString(f.Blake3)
		if err != nil || len(sum) != 32 {
			return fault("blake3", "blake3 = %q: want 64 hexadecimal digits", f.Blake3)
		}
		m.Digest, m.HasDigest = [32]byte(sum), true
	}
	for i, s := range f.Subprotocol {
		p, err := s.parse()
		if err != nil {
			return Manifest{}, &LineError{lineOfNth(text, "[[subprotocol]]", i), err.Error()}
		}
		for _, q := range m.Subprotocols {
			if q.ID == p.ID && q.Version.Major == p.Version.Major {
				return Manifest{}, &LineError{lineOfNth(text, "[[subprotocol]]", i), fmt.Sprintf("%v stands twice with major %d", p.ID, p.Version.Major)}
			}
		}
		m.Subprotocols = append(m.Subprotocols, p)
	}
	var serr error
	wants, err := f.Wants.grants()
	if err != nil {
		return fault(err.key, "%s", err.reason)
	}
	m.Wanted, m.Wants = wants, wants.List()
	if m.Limits, err = f.Limits.limits(DefaultLimits); err != nil {
		return fault(err.key, "%s", err.reason)
	}
	if m.Limits.Inline && m.Carrier == Process {
		return fault("inline", "%s", errInlineProcess)
	}
	if m.Schema, serr = parseSchema(text, f.Config); serr != nil {
		return Manifest{}, serr
	}
	return m, nil
}

func (s fileSubprotocol) parse() (sdk.Subprotocol, error) {
	if s.ID < 0 || s.ID > 0xffff {
		return sdk.Subprotocol{}, fmt.Errorf("id = %d: want a 16-bit number such as 0x1001", s.ID)
	}
	p := sdk.Subprotocol{ID: sdk.ID(s.ID), Required: s.Required}
	var err error
	if p.Version, err = sdk.ParseVersion(s.Version); err != nil {
		return p, err
	}
	if s.MinPeer == "" {
		s.MinPeer = fmt.Sprintf("%d.0", p.Version.Major)
	}
	if p.MinPeer, err = sdk.ParseVersion(s.MinPeer); err != nil {
		return p, fmt.Errorf("min_peer: %w", err)
	}
	if p.MinPeer.Major != p.Version.Major || p.MinPeer.Compare(p.Version) > 0 {
		return p, fmt.Errorf("min_peer = %q: want the major of version %q, and not above it", s.MinPeer, s.Version)
	}
	return p, nil
}

// keyError is a fault of one key.
type keyError struct{ key, reason string }

func (e *keyError) Error() string { return e.reason }

func (w fileWants) grants() (Grants, *keyError) {
	g := Grants{Announce: w.Announce, Call: w.Call, Connect: w.Connect, Sign: w.Sign, Entropy: w.Entropy, Secret: w.Secret, Wall: w.Wall}
	var err *keyError
	for _, tag := range w.Announce {
		if tag == "" || len(tag) > 128 || strings.ContainsFunc(tag, func(r rune) bool { return r < ' ' || r > '~' }) {
			return g, &keyError{"announce", fmt.Sprintf("announce: %q: want a prefix of tags, at most 128 printable ASCII characters", tag)}
		}
	}
	for _, name := range w.Call {
		if !nameRule.MatchString(name) {
			return g, &keyError{"call", fmt.Sprintf("call: %q: want the name of a module", name)}
		}
	}
	if g.State, err = parseSize("state", w.State); err != nil {
		return g, err
	}
	if g.State > 16<<20 {
		return g, &keyError{"state", fmt.Sprintf("state = %q: the most is 16MiB", w.State)}
	}
	g.Data, err = parseSize("data", w.Data)
	return g, err
}

func (f fileLimits) limits(l Limits) (Limits, *keyError) {
	var err *keyError
	if f.Memory != "" {
		if l.Memory, err = parseSize("memory", f.Memory); err != nil {
			return l, err
		}
	}
	for _, d := range []struct {
		key, text string
		to        *time.Duration
	}{{"cpu", f.CPU, &l.CPU}, {"cpu_max", f.CPUMax, &l.CPUMax}} {
		if d.text == "" {
			continue
		}
		v, perr := time.ParseDuration(d.text)
		if perr != nil || v <= 0 || v > time.Minute {
			return l, &keyError{d.key, fmt.Sprintf("%s = %q: want a duration such as \"500us\", up to 1m", d.key, d.text)}
		}
		*d.to = v
	}
	if f.Mailbox != 0 {
		if f.Mailbox < 16 || f.Mailbox > 1<<20 {
			return l, &keyError{"mailbox", fmt.Sprintf("mailbox = %d: want 16 to 1048576", f.Mailbox)}
		}
		l.Mailbox = f.Mailbox
	}
	l.Inline = f.Inline || l.Inline
	if l.Inline && l.CPUMax > time.Millisecond {
		return l, &keyError{"inline", "inline = true: needs cpu_max <= \"1ms\", because an inline module holds the reader"}
	}
	return l, nil
}

// parseSize reads "64KiB", "10GiB" or plain bytes; "" is 0.
func parseSize(key, s string) (uint64, *keyError) {
	if s == "" {
		return 0, nil
	}
	num, unit := s, uint64(1)
	for suffix, n := range map[string]uint64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			num, unit = rest, n
		}
	}
	var n uint64
	if _, err := fmt.Sscanf(num+"\n", "%d\n", &n); err != nil || n > 1<<40/unit || fmt.Sprint(n) != num {
		return 0, &keyError{key, fmt.Sprintf("%s = %q: want a size such as \"64KiB\", \"10MiB\" or \"1GiB\"", key, s)}
	}
	return n * unit, nil
}

// lineOf finds the line that sets a key, 0 if none does.
func lineOf(text []byte, key string) int {
	if key == "" {
		return 0
	}
	rule := regexp.MustCompile(`^\s*` + regexp.QuoteMeta(key) + `\s*=`)
	for i, line := range bytes.Split(text, []byte("\n")) {
		if rule.Match(line) {
			return i + 1
		}
	}
	return 0
}

// lineOfNth finds the nth line that is head.
func lineOfNth(text []byte, head string, n int) int {
	for i, line := range bytes.Split(text, []byte("\n")) {
		if strings.HasPrefix(strings.TrimSpace(string(line)), head) {
			if n == 0 {
				return i + 1
			}
			n--
		}
	}
	return 0
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
