package main

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// envPrefix begins the variables that are configuration.
const envPrefix = "NETHOST_"

// layers is the configuration while it is put together. It remembers where each
// key was set last, so that a fault can say where to mend it.
type layers struct {
	k      *koanf.Koanf
	known  map[string]any    // defaults: the keys that exist
	from   map[string]string // key: "FILE:LINE", variable or flag
	faults []error
}

// fault notes a mistake in a key, with the place it was set at.
func (l *layers) fault(key, format string, a ...any) {
	err := fmt.Errorf(format, a...)
	if from := l.from[key]; from != "" {
		err = fmt.Errorf("%s: %w", from, err)
	}
	l.faults = append(l.faults, err)
}

// file adds the TOML file.
func (l *layers) file(path string, text []byte) {
	k := koanf.New(".")
	if err := k.Load(rawbytes.Provider(text), toml.Parser()); err != nil {
		where := path
		if p, ok := err.(interface{ Position() (row, column int) }); ok {
			row, _ := p.Position()
			where = fmt.Sprintf("%s:%d", path, row)
		}
		l.fault("", "%s: %s", where, strings.TrimPrefix(err.Error(), "toml: "))
		return
	}
	l.add(k, func(key string) string {
		if n := lineOfKey(text, key); n > 0 {
			return fmt.Sprintf("%s:%d", path, n)
		}
		return path
	})
	for _, key := range k.Keys() {
		if n := lineOfKey(text, key); n > 0 && strings.HasPrefix(key, "module.") {
			l.from[key] = fmt.Sprintf("%s:%d", path, n)
		}
	}
	for _, table := range []string{"grants", "module"} {
		for _, name := range k.MapKeys(table) {
			key := table + "." + name
			l.from[key] = path
			if n := lineOfKey(text, key); n > 0 {
				l.from[key] = fmt.Sprintf("%s:%d", path, n)
			}
		}
	}
}

// environment adds the variables: "." is "__" in them, lists have commas.
func (l *layers) environment() {
	k := koanf.New(".")
	names := map[string]string{}
	_ = k.Load(env.Provider(".", env.Opt{Prefix: envPrefix, EnvironFunc: os.Environ, TransformFunc: func(name, v string) (string, any) {
		key := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, envPrefix)), "__", ".")
		names[key] = name
		if _, list := l.known[key].([]string); list {
			return key, strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })
		}
		return key, v
	}}), nil)
	l.add(k, func(key string) string { return names[key] })
}

// flags adds what was given on the command line: its syntax is checked already.
func (l *layers) flags(flags *pflag.FlagSet) {
	given := map[string]any{}
	flags.Visit(func(f *pflag.Flag) {
		key := flagKeys[f.Name]
		if key == "" {
			return
		}
		l.from[key] = "--" + f.Name
		if list, ok := f.Value.(pflag.SliceValue); ok {
			given[key] = list.GetSlice()
		} else {
			given[key] = f.Value.String()
		}
	})
	_ = l.k.Load(confmap.Provider(given, "."), nil)
}

// add merges a layer. Unknown keys and values of a wrong type are faults, and
// left out.
func (l *layers) add(k *koanf.Koanf, from func(key string) string) {
	for _, key := range k.Keys() {
		where, v := from(key), k.Get(key)
		if strings.HasPrefix(key, "grants.") || strings.HasPrefix(key, "module.") {
			continue
		}
		want, ok := l.known[key]
		if t, table := v.(map[string]any); !ok && table && len(t) == 0 && l.isTable(key) {
			k.Delete(key) // the head of a table without keys
			continue
		}
		if ok {
			if wish := wrongType(v, want); wish != "" {
				l.faults = append(l.faults, fmt.Errorf("%s: %s = %v: want %s", where, key, v, wish))
				k.Delete(key)
				continue
			}
			l.from[key] = where
			continue
		}
		l.faults = append(l.faults, fmt.Errorf("%s: unknown key %s%s", where, key, didYouMean(key, l.known)))
		k.Delete(key)
	}
	_ = l.k.Merge(k)
}

// isTable reports whether key is a table that has known keys.
func (l *layers) isTable(key string) bool {
	for name := range l.known {
		if strings.HasPrefix(name, key+".") {
			return true
		}
	}
	return key == "grants" || key == "module"
}

// wrongType says what is wanted instead of v, "" if v has the type of want.
// Variables of the environment are text whatever they mean.
func wrongType(v, want any) string {
	switch want.(type) {
	case string:
		if _, ok := v.(string); !ok {
			return "text in quotes"
		}
	case bool:
		switch v.(type) {
		case bool, string:
		default:
			return "true or false"
		}
	case int:
		switch v.(type) {
		case int64, string:
		default:
			return "a number"
		}
	case []string:
		list, ok := v.([]any)
		if _, text := v.([]string); text {
			return ""
		}
		if !ok || slices.ContainsFunc(list, func(e any) bool { _, text := e.(string); return !text }) {
			return `a list such as ["a", "b"]`
		}
	}
	return ""
}

var (
	tableHead = regexp.MustCompile(`^\s*\[\s*([^\[\]]+?)\s*\]`)
	keyHead   = regexp.MustCompile(`^\s*([A-Za-z0-9_."'-]+(?:\s*\.\s*[A-Za-z0-9_"'-]+)*)\s*=`)
	plain     = strings.NewReplacer(`"`, "", "'", "", " ", "", "\t", "")
)

// lineOfKey finds the line of a TOML text that sets a key or begins a table; 0 if
// none does in a way a line shows.
func lineOfKey(text []byte, key string) int {
	table, n := "", 0
	for line := range strings.Lines(string(text)) {
		n++
		found := ""
		if m := tableHead.FindStringSubmatch(line); m != nil {
			found = plain.Replace(m[1])
			table = found + "."
		} else if m := keyHead.FindStringSubmatch(line); m != nil {
			found = table + plain.Replace(m[1])
		}
		if found != "" && (found == key || strings.HasPrefix(found, key+".")) {
			return n
		}
	}
	return 0
}

// didYouMean finds the known key that is nearest to a wrong one: one letter in
// three away at most, or the same name in another table.
func didYouMean(key string, known map[string]any) string {
	tail := func(s string) string { return s[strings.LastIndex(s, ".")+1:] }
	best, found := min(len(tail(key))/3, 2)+1, ""
	for _, k := range slices.Sorted(maps.Keys(known)) {
		d := min(distance(key, k), distance(tail(key), tail(k)))
		if d < best {
			best, found = d, k
		}
	}
	if found == "" {
		return ""
	}
	return ": did you mean " + found + "?"
}

// distance is Levenshtein's: how many letters must be added, removed or changed.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
