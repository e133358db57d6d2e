package capability

import (
	"fmt"
	"slices"
	"strings"
)

// kind is the type of a known key's value.
type kind uint8

const (
	kindNone    kind = iota // not a known key
	kindFlag                // no value
	kindNumber              // of a unit
	kindVersion             // numbers with dots
	kindText
	kindEnum // one of a list
)

var kindNames = [...]string{"unknown", "flag", "number", "version", "text", "enum"}

// known is one line of the table C1.5.
type known struct {
	key  string
	kind kind
	// unit of a number, or the choices of an enum with spaces.
	unit  string
	least float64
}

// knownKeys is the table of C1.5, by key.
func knownKeys() []known {
	return []known{
		{"devices.camera", kindNumber, "cameras", 1}, {"devices.serial", kindNumber, "ports", 1}, {"devices.usb", kindNumber, "devices", 1},
		{"hardware.cores", kindNumber, "logical processors", 1}, {"hardware.cpu", kindText, "", 0},
		{"hardware.gpu", kindText, "", 0}, {"hardware.gpus", kindNumber, "GPUs", 1}, {"hardware.load_pct", kindNumber, "% of all processors", 0},
		{"hardware.memory_gb", kindNumber, "GiB", 0}, {"hardware.virtual", kindFlag, "", 0}, {"hardware.vram_gb", kindNumber, "GiB", 0},
		{"software.arch", kindEnum, "386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x wasm", 0},
		{"software.cuda", kindVersion, "", 0}, {"software.kernel", kindVersion, "", 0}, {"software.nethost", kindVersion, "", 0},
		{"software.os", kindEnum, "aix android darwin dragonfly freebsd illumos ios js linux netbsd openbsd plan9 solaris wasip1 windows", 0},
		{"software.relay", kindEnum, "no yes", 0},
		{"storage.free_gb", kindNumber, "GiB", 0}, {"storage.kind", kindEnum, "hdd nvme ssd", 0}, {"storage.total_gb", kindNumber, "GiB", 0},
	}
}

// lookup finds a known key without building the table.
func lookup(key string) (known, bool) {
	if strings.HasPrefix(key, "software.module.") {
		return known{key, kindVersion, "", 0}, true
	}
	if axisOf(key) == "" {
		return known{}, false
	}
	all := knownKeys()
	i, ok := slices.BinarySearchFunc(all, key, func(k known, key string) int { return strings.Compare(k.key, key) })
	if !ok {
		return known{}, false
	}
	return all[i], true
}

// kindOf is the type of a key's values, as far as versions are concerned: all others
// compare by their form.
func kindOf(key string) kind {
	switch {
	case key == "software.kernel", key == "software.cuda", key == "software.nethost",
		strings.HasPrefix(key, "software.module."), strings.HasPrefix(key, "subprotocol:"):
		return kindVersion
	}
	return kindNone
}

// axisOf gives "hardware" for "hardware.cores", "" for a tag without an axis.
func axisOf(key string) string {
	axis, _, ok := strings.Cut(key, ".")
	if ok && slices.Contains([]string{"hardware", "software", "devices", "storage"}, axis) {
		return axis
	}
	return ""
}

// finding is something that `nethost cap check` says about a tag.
type finding struct {
	Tag     string `json:"tag"`
	Problem string `json:"problem"`
}

// check looks at tags of the four axes (C1.5). Tags without an axis are free.
func check(tags []string) []finding {
	found := []finding{}
	for _, t := range tags {
		key, value, has := splitTag(t)
		if axisOf(key) == "" {
			continue
		}
		if why := faultOf(key, value, has); why != "" {
			found = append(found, finding{t, why})
		}
	}
	return found
}

func faultOf(key, value string, has bool) string {
	k, ok := lookup(key)
	if !ok {
		return "unknown key" + near(key) + ": `nethost help cap check` lists the known ones; a tag of your own needs no axis"
	}
	switch k.kind {
	case kindFlag:
		if has {
			return "it takes no value"
		}
		return ""
	case kindText:
		return ""
	}
	if !has {
		return "it needs a value: a " + kindNames[k.kind] + " " + k.unit
	}
	switch k.kind {
	case kindNumber:
		if n, ok := number(value); !ok || n < k.least {
			return fmt.Sprintf("want a number of %s, at least %g", k.unit, k.least)
		}
	case kindVersion:
		if _, ok := parseVersion(value); !ok {
			return "want a version such as 6.8.0"
		}
	case kindEnum:
		if !slices.Contains(strings.Fields(k.unit), value) {
			return "want one of " + strings.ReplaceAll(k.unit, " ", ", ")
		}
	}
	return ""
}

// near proposes a known key that begins or ends like a wrong one.
func near(key string) string {
	axis, word, _ := strings.Cut(key, ".")
	for _, k := range knownKeys() {
		a, w, _ := strings.Cut(k.key, ".")
		if w == word || a == axis && len(word) > 2 && (strings.HasPrefix(w, word[:3]) || strings.HasPrefix(word, w)) {
			return ", did you mean " + k.key + "?"
		}
	}
	return ""
}
