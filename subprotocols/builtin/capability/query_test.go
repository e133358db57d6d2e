package capability

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"nethost/sdk"
	"nethost/sdk/gossip"
)

// TestQuery: C1.3 and C3.
func TestQuery(t *testing.T) {
	r := &row{tags: merge([]string{"hardware.gpu=RTX 4090", "hardware.gpu=T4", "hardware.gpus=2", "hardware.vram_gb=48", "prod", "region:us", "rack=07",
		"software.kernel=6.8.0-rc1", "software.module.echo=1.10", "odd=v2.0.1+x", "hardware.gpu.note", "subprotocol:0x0a00=1.10"})}
	for q, want := range map[string]bool{
		"": true, "prod": true, "test": false, "not test": true, "hardware.gpu and hardware.vram_gb>=40 and prod": true,
		"hardware.vram_gb>48": false, "hardware.vram_gb>=48": true, "hardware.vram_gb<48.5": true, "hardware.vram_gb<=47": false,
		`hardware.gpu="RTX 4090"`: true, "hardware.gpu=T4": true, "hardware.gpu!=T4": false, "hardware.gpu==A100": false, "nothing!=T4": true,
		"hardware.gpu=RTX*": true, `hardware.gpu="RTX 4"*`: true, "hardware.gpu=GTX*": false, "region:*": true, "zone:*": false, "hardware.g*": true,
		"rack=7": false, "rack=07": true, "rack>=7": true, "rack<8": true,
		"software.kernel>=6.8": false, "software.kernel>=6.7.99": true, "software.kernel<6.8": true, "software.kernel>=6": true,
		"software.module.echo>1.9": true, "software.module.echo<1.9": false, "subprotocol:0x0a00>=1.2": true,
		"odd>=2.0.1": true, "odd>2.0.1": false, "odd<2.1": true,
		"test or prod": true, "test and prod or region:us": true, "test and (prod or region:us)": false, "not (test or not prod)": true, "not not prod": true,
		"hardware.gpu>5": false, "prod>1": false, "andy or prod": true,
	} {
		e, err := parseQuery(q)
		if err != nil || r.matches(e) != want {
			t.Errorf("%q: %v, %v", q, !want, err)
			continue
		}
		if again, err := parseQuery(e.String()); err != nil || again.String() != e.String() {
			t.Errorf("%q is written %q: %v", q, e, err)
		}
	}
	for _, q := range []string{"(", "a and", "and", "a or or b", "a b", "a=", "a>x", `a="x`, "a)", "a = ", "ä", "a=\"\"", strings.Repeat("(", 40) + "a", "not", "a<=b",
		strings.Repeat("a or ", 200) + "a", strings.Repeat("a", 5000), "*", strings.Repeat("not ", 100) + "a"} {
		if e, err := parseQuery(q); err == nil {
			t.Errorf("%.40q is a query: %v", q, e)
		}
	}
}

// fleet makes tags like those of real nodes, with enough in common.
func fleet(rnd *rand.Rand, i int) []string {
	tags := []string{fmt.Sprintf("hardware.cores=%d", 1<<rnd.IntN(6)), fmt.Sprintf("hardware.memory_gb=%d", 1+rnd.IntN(64)), "software.os=linux",
		"software.arch=" + []string{"amd64", "arm64"}[rnd.IntN(2)], fmt.Sprintf("storage.free_gb=%d", rnd.IntN(4000)), fmt.Sprintf("software.kernel=6.%d.%d", rnd.IntN(9), rnd.IntN(30)),
		fmt.Sprintf("hardware.load_pct=%d", 25*rnd.IntN(5)), fmt.Sprintf("region:r%d", rnd.IntN(20)), "software.nethost=0.3.0", "subprotocol:0x0c00=1.0", "subprotocol:0x0c10=1.0",
		"subprotocol:0x0007=1.0", "subprotocol:0x0a00=1.0", "software.module.echo=1.0.0", fmt.Sprintf("rack=%d", i/40), fmt.Sprintf("chan:sensors/%d", i)}
	if rnd.IntN(100) == 0 {
		tags = append(tags, "hardware.gpu=T4", fmt.Sprintf("hardware.vram_gb=%d", 16<<rnd.IntN(3)), "hardware.gpus=2")
	}
	if rnd.IntN(3) > 0 {
		tags = append(tags, "prod")
	}
	return merge(tags)
}

func nodeID(i int) sdk.NodeID { return sdk.NodeID{byte(i), byte(i >> 8), byte(i >> 16), 1} }

// TestIndexTwin: C3.4: under changes of all kinds the index finds what a look at
// every node's tags finds, and holds nothing of nodes that are gone.
func TestIndexTwin(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	x, twin := newIndex(), map[sdk.NodeID][]string{}
	terms := []string{"prod", "hardware.gpu", "hardware.cores>=8", "hardware.cores=4", "hardware.memory_gb<20", "software.kernel>=6.4", "region:*", "region:r3",
		"software.arch=a*", "storage.free_gb>3900", "rack=1", "chan:sensors/7", "hardware.v*", "hardware.gpu=T4", "nothing", "hardware.cores=1*", "software.kernel<6.2.9"}
	var q func(depth int) string
	q = func(depth int) string {
		switch n := rnd.IntN(6); {
		case depth == 0 || n < 2:
			return terms[rnd.IntN(len(terms))]
		case n == 2:
			return "not (" + q(depth-1) + ")"
		case n == 3:
			return "(" + q(depth-1) + " or " + q(depth-1) + ")"
		}
		return "(" + q(depth-1) + " and " + q(depth-1) + ")"
	}
	found := 0
	for round := range 600 {
		for range 3 {
			id := nodeID(rnd.IntN(120))
			if rnd.IntN(4) == 0 {
				x.remove(id)
				delete(twin, id)
			} else {
				tags := fleet(rnd, int(id[0]))
				if rnd.IntN(10) == 0 {
					tags = merge(tags, []string{"hardware.gpu=A", "hardware.gpu=B", "hardware.gpu", "hardware.gpu.x"})
				}
				x.put(id, tags)
				twin[id] = tags
			}
		}
		text := q(3)
		e, err := parseQuery(text)
		if err != nil {
			t.Fatal(text, err)
		}
		var got, want []string
		for _, s := range x.search(e) {
			got = append(got, x.rows[s].id.String())
		}
		for id, tags := range twin {
			if (&row{tags: tags}).matches(e) {
				want = append(want, id.String())
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("round %d, %q: %d nodes, the twin finds %d", round, text, len(got), len(want))
		}
		found += len(got)
	}
	if found < 4000 {
		t.Errorf("only %d nodes were found in all", found)
	}
	for id := range twin {
		x.remove(id)
	}
	if len(x.keys) != 0 || len(x.names) != 0 || len(x.byID) != 0 {
		t.Errorf("an empty index holds %d keys, %d names", len(x.keys), len(x.names))
	}
}

// FuzzQuery: no query panics, and its full form means the same.
func FuzzQuery(f *testing.F) {
	for _, q := range []string{"hardware.gpu and hardware.vram_gb>=40 and prod", "not (a or b=c*)", `a="x y"`, "region:* or", "((a))", "a!=1.2.3"} {
		f.Add(q, "a=1")
	}
	f.Fuzz(func(t *testing.T, q, tag string) {
		e, err := parseQuery(q)
		if err != nil {
			return
		}
		again, err := parseQuery(e.String())
		if err != nil || again.String() != e.String() {
			t.Fatalf("%q is written %q: %v", q, e, err)
		}
		if checkTag(tag) == nil {
			r, x := &row{tags: []string{tag}}, newIndex()
			x.put(sdk.NodeID{1}, r.tags)
			if r.matches(e) != r.matches(again) || r.matches(e) != (len(x.search(e)) == 1) {
				t.Fatalf("%q on %q: the index says otherwise", q, tag)
			}
		}
	})
}

// TestKnown: C1.5: the table is in order, SPEC.md has each key, check tells faults.
func TestKnown(t *testing.T) {
	if !slices.IsSortedFunc(knownKeys(), func(a, b known) int { return strings.Compare(a.key, b.key) }) {
		t.Error("the table is not in order: lookup would miss keys")
	}
	for tag, want := range map[string]bool{"hardware.cores=4": true, "hardware.cores=0": false, "hardware.cores": false, "hardware.cors=4": false, "software.os=linux": true,
		"software.os=Linux": false, "software.kernel=6.8": true, "software.kernel=new": false, "hardware.virtual": true, "hardware.virtual=1": false, "prod": true,
		"hardware.gpu": true, "hardware.gpu=T4": true, "storage.kind=tape": false, "software.module.x=1.0.0": true} {
		if got := check([]string{tag}); (len(got) == 0) != want {
			t.Errorf("%s: %v", tag, got)
		}
	}
	if f := check([]string{"hardware.cors=4"}); !strings.Contains(f[0].Problem, "hardware.cores") {
		t.Errorf("no proposal: %v", f)
	}
}

// big is a module that knows 10 000 nodes.
func big() *module {
	rnd := rand.New(rand.NewPCG(5, 6))
	m := New().(*module)
	for i := range 10000 {
		a := announcement{node: nodeID(i), version: gossip.Version{1, 1}, ttl: lifetime, tags: fleet(rnd, i)}
		body := string(a.append(nil))
		a, err := parseAnnouncement(body)
		if err != nil {
			panic(err)
		}
		m.keep(a, body, 0)
		m.gossip.Put(gossip.Key(a.node), a.version)
	}
	m.changed = nil
	return m
}

// TestMemory: a node costs at most 2 KiB beside the bytes of its announcement.
func TestMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m := big()
	runtime.GC()
	runtime.ReadMemStats(&after)
	per := int(after.HeapAlloc-before.HeapAlloc) / 10000
	t.Logf("%d bytes a node, %d of them its announcement", per, m.bytes/10000)
	if per > 2<<10 {
		t.Errorf("%d bytes a node", per)
	}
	runtime.KeepAlive(m)
}

func BenchmarkQuery(b *testing.B) {
	m := big()
	for _, q := range []string{"hardware.gpu and hardware.vram_gb>=64 and prod", "chan:sensors/77", "rack=7 and prod and hardware.cores>=8", "prod"} {
		b.Run(strings.ReplaceAll(q, " ", "_"), func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				e, err := parseQuery(q)
				if err != nil {
					b.Fatal(err)
				}
				n = len(m.x.search(e))
			}
			b.ReportMetric(float64(n), "nodes")
		})
	}
}
