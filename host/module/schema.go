package module

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"nethost/sdk"
)

// Field is one key of a module's configuration, as the table [config] of its
// module.toml describes it (K1.4). A value reaches the module as text: true or
// false, decimal numbers, durations and sizes as the operator wrote them.
type Field struct {
	Key         string
	Type        string // string, bool, int, float, duration or size
	Default     string // the value when the operator says nothing; unset for a required key
	Required    bool   // the operator must give a value
	Description string
	min, max    *float64
	minText     string
	maxText     string
	enum        []string
}

// fieldTypes are the types of configuration values.
var fieldTypes = []string{"string", "bool", "int", "float", "duration", "size"}

// fileField is [config.KEY] with its keys.
type fileField struct {
	Type        string `toml:"type"`
	Default     any    `toml:"default"`
	Min         any    `toml:"min"`
	Max         any    `toml:"max"`
	Enum        []any  `toml:"enum"`
	Required    bool   `toml:"required"`
	Description string `toml:"description"`
}

// parseSchema reads [config]. A plain value is a default of its own type; a table
// says more.
func parseSchema(text []byte, config map[string]any) ([]Field, error) {
	var fields []Field
	for _, key := range sortedKeys(config) {
		fault := func(err error) error {
			return &LineError{lineOfConfig(text, key), fmt.Sprintf("[config] %s: %v", key, err)}
		}
		if key == "" || len(key) > 64 || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, fault(fmt.Errorf("want a key of 1 to 64 printable ASCII characters"))
		}
		table, ok := config[key].(map[string]any)
		if !ok {
			f := Field{Key: key, Type: typeOf(config[key])}
			var err error
			if f.Default, err = f.value(config[key]); err != nil {
				return nil, fault(err)
			}
			fields = append(fields, f)
			continue
		}
		var ff fileField
		if err := redecode(table, &ff); err != nil {
			return nil, fault(err)
		}
		f, err := ff.parse(key)
		if err != nil {
			return nil, fault(err)
		}
		fields = append(fields, f)
	}
	return fields, nil
}

func lineOfConfig(text []byte, key string) int {
	if n := lineOfNth(text, "[config."+key+"]", 0); n > 0 {
		return n
	}
	return lineOf(text, key)
}

// typeOf is the type of a plain default, "" for one that cannot be configured.
func typeOf(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case bool:
		return "bool"
	case int64:
		return "int"
	case float64:
		return "float"
	}
	return ""
}

func (ff *fileField) parse(key string) (Field, error) {
	f := Field{Key: key, Type: ff.Type, Required: ff.Required, Description: ff.Description}
	if !slices.Contains(fieldTypes, f.Type) {
		return f, fmt.Errorf("type = %q: want one of %s", f.Type, strings.Join(fieldTypes, ", "))
	}
	if f.Required == (ff.Default != nil) {
		return f, fmt.Errorf("want either a default or required = true")
	}
	for _, b := range []struct {
		name string
		v    any
		to   **float64
		text *string
	}{{"min", ff.Min, &f.min, &f.minText}, {"max", ff.Max, &f.max, &f.maxText}} {
		if b.v == nil {
			continue
		}
		if f.Type == "bool" || f.Type == "string" {
			return f, fmt.Errorf("%s: a %s has no bounds", b.name, f.Type)
		}
		text, n, err := f.number(b.v)
		if err != nil {
			return f, fmt.Errorf("%s: %w", b.name, err)
		}
		*b.to, *b.text = &n, text
	}
	if f.min != nil && f.max != nil && *f.min > *f.max {
		return f, fmt.Errorf("min = %s is above max = %s", f.minText, f.maxText)
	}
	var enum []string
	for _, v := range ff.Enum {
		text, err := f.value(v)
		if err != nil {
			return f, fmt.Errorf("enum: %w", err)
		}
		enum = append(enum, text)
	}
	f.enum = enum
	if !f.Required {
		var err error
		if f.Default, err = f.value(ff.Default); err != nil {
			return f, fmt.Errorf("default: %w", err)
		}
	}
	return f, nil
}

// value checks a value of TOML against the field and gives it as the module gets
// it.
func (f *Field) value(v any) (string, error) {
	text := ""
	switch f.Type {
	case "string":
		s, ok := v.(string)
		if !ok {
			return "", fmt.Errorf("%v: want text in quotes", v)
		}
		text = s
	case "bool":
		b, ok := v.(bool)
		if !ok {
			return "", fmt.Errorf("%v: want true or false", quoted(v))
		}
		text = strconv.FormatBool(b)
	default:
		s, n, err := f.number(v)
		if err != nil {
			return "", err
		}
		if f.min != nil && n < *f.min {
			return "", fmt.Errorf("%s: the least is %s", s, f.minText)
		}
		if f.max != nil && n > *f.max {
			return "", fmt.Errorf("%s: the most is %s", s, f.maxText)
		}
		text = s
	}
	if f.enum != nil && !slices.Contains(f.enum, text) {
		return "", fmt.Errorf("%s: want one of %s", quoted(v), strings.Join(f.enum, ", "))
	}
	return text, nil
}

// number reads a value of a type that has an order.
func (f *Field) number(v any) (string, float64, error) {
	switch f.Type {
	case "int":
		if n, ok := v.(int64); ok {
			return strconv.FormatInt(n, 10), float64(n), nil
		}
		return "", 0, fmt.Errorf("%s: want a whole number without quotes", quoted(v))
	case "float":
		n, ok := v.(float64)
		if i, whole := v.(int64); whole {
			n, ok = float64(i), true
		}
		if !ok || math.IsNaN(n) || math.IsInf(n, 0) {
			return "", 0, fmt.Errorf("%s: want a number without quotes", quoted(v))
		}
		return strconv.FormatFloat(n, 'g', -1, 64), n, nil
	case "duration":
		s, _ := v.(string)
		d, err := time.ParseDuration(s)
		if err != nil {
			return "", 0, fmt.Errorf("%s: want a duration such as \"5s\" or \"200ms\"", quoted(v))
		}
		return s, float64(d), nil
	case "size":
		s, _ := v.(string)
		n, kerr := parseSize(f.Key, s)
		if kerr != nil || s == "" {
			return "", 0, fmt.Errorf("%s: want a size such as \"64KiB\", \"10MiB\" or \"1GiB\"", quoted(v))
		}
		return s, float64(n), nil
	}
	return "", 0, fmt.Errorf("want text in quotes, a number, true or false")
}

// quoted shows a value as it stands in a file.
func quoted(v any) string {
	if s, ok := v.(string); ok {
		return strconv.Quote(s)
	}
	return fmt.Sprint(v)
}

// configure gives the values a module gets: the operator's, else the defaults. Its
// error names the key and what is wanted of it.
func configure(fields []Field, given map[string]any) ([]sdk.Pair, error) {
	for _, key := range sortedKeys(given) {
		if !slices.ContainsFunc(fields, func(f Field) bool { return f.Key == key }) {
			var have []string
			for _, f := range fields {
				have = append(have, f.Key)
			}
			if len(have) == 0 {
				return nil, &keyError{key, fmt.Sprintf("the module has no key %q, nor any other", key)}
			}
			return nil, &keyError{key, fmt.Sprintf("the module has no key %q, but %s", key, strings.Join(have, ", "))}
		}
	}
	var out []sdk.Pair
	for i := range fields {
		f := &fields[i]
		v, ok := given[f.Key]
		switch {
		case ok:
			text, err := f.value(v)
			if err != nil {
				return nil, &keyError{f.Key, fmt.Sprintf("%s = %v", f.Key, err)}
			}
			out = append(out, sdk.Pair{Key: f.Key, Value: text})
		case f.Required:
			return nil, &keyError{f.Key, fmt.Sprintf("%s: the module needs a value (%s)", f.Key, f.Type)}
		default:
			out = append(out, sdk.Pair{Key: f.Key, Value: f.Default})
		}
	}
	return out, nil
}

// MarshalJSON writes a field with what bounds it.
func (f Field) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Key         string   `json:"key"`
		Type        string   `json:"type"`
		Default     string   `json:"default,omitempty"`
		Required    bool     `json:"required,omitempty"`
		Min         string   `json:"min,omitempty"`
		Max         string   `json:"max,omitempty"`
		Enum        []string `json:"enum,omitempty"`
		Description string   `json:"description,omitempty"`
	}{f.Key, f.Type, f.Default, f.Required, f.minText, f.maxText, f.enum, f.Description})
}
