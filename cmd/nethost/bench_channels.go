package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"nethost/sdk"
	"nethost/sdk/client"
	"nethost/sdk/token"
	"nethost/subprotocols/builtin/capability"
)

// benchChannels measures what channels stand on: who is where, and who may.
func benchChannels(ctx context.Context, e *benchEnv) error {
	for _, part := range []func(context.Context, *benchEnv) error{benchQueries, benchTokens, benchTags, benchPubSub} {
		if err := part(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// benchQueries asks an index of 10 000 nodes for some twenty of them.
func benchQueries(_ context.Context, e *benchEnv) error {
	const nodes = 10000
	rnd := rand.New(rand.NewPCG(5, 6))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	table := capability.NewTable()
	for i := range nodes {
		tags := []string{fmt.Sprintf("hardware.cores=%d", 1<<rnd.IntN(6)), fmt.Sprintf("hardware.memory_gb=%d", 1+rnd.IntN(64)), "software.os=linux",
			fmt.Sprintf("storage.free_gb=%d", rnd.IntN(4000)), fmt.Sprintf("software.kernel=6.%d.%d", rnd.IntN(9), rnd.IntN(30)), fmt.Sprintf("hardware.load_pct=%d", 25*rnd.IntN(5)),
			fmt.Sprintf("region:r%d", rnd.IntN(20)), "software.nethost=" + release, "subprotocol:0x0c00=1.0", "subprotocol:0x0c10=1.0", "subprotocol:0x0a00=1.0",
			fmt.Sprintf("rack=%d", i/40), fmt.Sprintf("chan:sensors/%d", i)}
		if rnd.IntN(100) == 0 {
			tags = append(tags, "hardware.gpu=T4", fmt.Sprintf("hardware.vram_gb=%d", 16<<rnd.IntN(3)))
		}
		if rnd.IntN(3) > 0 {
			tags = append(tags, "prod")
		}
		var id sdk.NodeID
		binary.LittleEndian.PutUint32(id[:], uint32(i+1))
		if err := table.Put(id, tags); err != nil {
			return err
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	const query = "hardware.gpu and hardware.vram_gb>=64 and prod"
	n := 0
	per, _ := repeated(func() { n = found(table, query) })
	e.value(fmt.Sprintf("query of %d nodes that finds %d", nodes, n), per.Seconds()*1e6, "us", 20)
	e.value("index memory a node, tags included", float64(after.HeapAlloc-before.HeapAlloc)/nodes, "B", 2048)
	return nil
}

func found(t *capability.Table, query string) int {
	ids, err := t.Find(query)
	if err != nil {
		return 0
	}
	return len(ids)
}

// repeated runs f for benchFor, in batches of some 100 us. It gives the median batch's
// time of a run, which the scheduler's interruptions of others do not move, and the
// allocations of a run.
func repeated(f func()) (per time.Duration, allocs float64) {
	began := time.Now()
	f()
	size := int(max(1, 100*time.Microsecond/max(1, time.Since(began))))
	var before, after runtime.MemStats
	batches := make([]time.Duration, 0, 1<<16)
	runtime.ReadMemStats(&before)
	for time.Since(began) < benchFor && len(batches) < cap(batches) {
		at := time.Now()
		for range size {
			f()
		}
		batches = append(batches, time.Since(at))
	}
	runtime.ReadMemStats(&after)
	slices.Sort(batches)
	return batches[len(batches)/2] / time.Duration(size), float64(after.Mallocs-before.Mallocs) / float64(size*len(batches))
}

// benchTokens checks 1000 recipients in turn, as a fan-out does.
func benchTokens(_ context.Context, e *benchEnv) error {
	private := ed25519.NewKeyFromSeed(make([]byte, 32))
	issuer := sdk.NodeID(private.Public().(ed25519.PublicKey))
	link := token.Token{Scope: token.Subscribe, Resource: "sensors/**", Generation: 1, Subjects: []sdk.NodeID{issuer}}
	if err := link.Sign(private); err != nil {
		return err
	}
	chain := token.Chain{link}
	req := token.Request{Presenter: issuer, Scope: token.Subscribe, Resource: "sensors/a", Roots: []sdk.NodeID{issuer}, Wall: time.Now()}
	var floors token.Floors
	cache := token.NewCache(&floors, 1<<14)
	keys := make([]token.Key, 1000)
	for i := range keys {
		keys[i] = token.KeyOf(sdk.NodeID{byte(i), byte(i >> 8)}, token.Subscribe, "sensors/a", nil)
		if err := cache.Verify(&keys[i], chain, req); err != nil {
			return err
		}
	}
	wall, refused := time.Now().Unix(), 0
	per, allocs := repeated(func() {
		for i := range keys {
			if !cache.Good(&keys[i], wall) {
				refused++
			}
		}
	})
	if refused > 0 {
		return errors.New("a good token was refused")
	}
	e.value("token check, cached, 1000 recipients in turn", float64(per)/float64(len(keys)), "ns", 30)
	e.emit(measurement{Bench: e.name, Metric: "allocations of 1000 cached checks", Value: float64(int(allocs)), Unit: "", Pass: allocs < 1})
	full, _ := repeated(func() { _ = chain.Verify(req) })
	e.value("token check, one link, not cached", full.Seconds()*1e6, "us", 0)
	return nil
}

// benchTags changes a tag of one process and waits for it at another, three hops
// away, through the local APIs of both.
func benchTags(ctx context.Context, e *benchEnv) error {
	const rounds = 150
	d := &demo{exe: e.exe, dir: filepath.Join(e.dir, "tags")}
	defer d.stopAll()
	for i := range 4 {
		if err := d.make(ctx, string(rune('a'+i))); err != nil {
			return err
		}
		var extra []string
		if i > 0 {
			extra = []string{"--peers", d.nodes[i-1].addr}
		}
		if err := d.launch(ctx, d.nodes[i], 2, min(i, 1), extra...); err != nil {
			return err
		}
	}
	if _, err := d.nethost(ctx, d.nodes[3], "cap", "find", "hardware.cores", "--wait", "4"); err != nil {
		return err
	}
	s, err := client.New(filepath.Join(d.nodes[3].data, "api.sock")).Stream(ctx, client.Target{Module: "capability.watch"})
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.Write([]byte(`{"query":"round"}`)); err != nil {
		return err
	}
	if err := s.CloseWrite(); err != nil {
		return err
	}
	lines := bufio.NewScanner(s)
	near := client.New(filepath.Join(d.nodes[0].data, "api.sock"))
	var took []time.Duration
	pace := time.NewTicker(120 * time.Millisecond) // a change at a time: bursts are held back on purpose
	defer pace.Stop()
	for i := range rounds {
		tag := fmt.Sprintf("round=%d", i)
		req, err := json.Marshal(map[string][]string{"tags": {tag}})
		if err != nil {
			return err
		}
		<-pace.C
		began := time.Now()
		if _, err := near.Call(ctx, client.Target{Module: "capability.tag-add"}, req); err != nil {
			return err
		}
		for lines.Scan() && !strings.Contains(lines.Text(), `"`+tag+`"`) {
		}
		if lines.Err() != nil {
			return lines.Err()
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	e.value("a change of tags, 3 hops away, p50", took[len(took)/2].Seconds()*1e3, "ms", 0)
	e.value("a change of tags, 3 hops away, p99", took[len(took)*99/100].Seconds()*1e3, "ms", 50)
	return nil
}
