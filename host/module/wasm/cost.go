package wasm

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// Cost is what metering costs an exported function of a guest.
type Cost struct {
	Plain, Metered time.Duration // of one call, medians
	Ratio          float64       // median of the ratios of neighbouring runs
	Units          int64         // of fuel that a call is charged
}

// MeasureCost calls an export of type (i32) -> i64 again and again, in turns in the
// guest as it came and as the loader makes it. Nothing stops the former: it is for
// guests that are known to end. The two must give the same result.
func MeasureCost(bin []byte, export string, arg uint32, rounds int) (Cost, error) {
	out, rep, err := Rewrite(bin, Options{MemoryPages: 512, InitFuel: math.MaxInt64, StackBytes: stackBytes})
	if err != nil {
		return Cost{}, err
	}
	if len(rep.imports) > 0 {
		return Cost{}, fmt.Errorf("imports %s: only guests without imports can be measured", rep.imports[0].name)
	}
	ctx := context.Background()
	plain, closePlain, err := exported(ctx, bin, export)
	if err != nil {
		return Cost{}, err
	}
	defer closePlain()
	metered, closeMetered, err := exported(ctx, out, export)
	if err != nil {
		return Cost{}, err
	}
	defer closeMetered()
	fuel := metered.mod.ExportedGlobal(exportFuel).(api.MutableGlobal)
	var c Cost
	var times [2][]time.Duration
	var ratios []float64
	for n := range rounds + 2 {
		before := int64(fuel.Get())
		on, a, err := metered.call(ctx, arg)
		if err != nil {
			return Cost{}, err
		}
		c.Units = before - int64(fuel.Get())
		off, b, err := plain.call(ctx, arg)
		if err != nil {
			return Cost{}, err
		}
		if a != b {
			return Cost{}, fmt.Errorf("%s(%d) gives %d metered and %d plain", export, arg, a, b)
		}
		if n >= 2 { // the first ones warm up
			times[0], times[1] = append(times[0], off), append(times[1], on)
			ratios = append(ratios, float64(on)/float64(max(off, 1)))
		}
	}
	for i := range times {
		slices.Sort(times[i])
	}
	slices.Sort(ratios)
	c.Plain, c.Metered, c.Ratio = times[0][rounds/2], times[1][rounds/2], ratios[rounds/2]
	return c, nil
}

type exportedFunc struct {
	mod api.Module
	f   api.Function
}

func (e exportedFunc) call(ctx context.Context, arg uint32) (time.Duration, uint64, error) {
	stack := [1]uint64{uint64(arg)}
	began := time.Now()
	err := e.f.CallWithStack(ctx, stack[:])
	return time.Since(began), stack[0], err
}

func exported(ctx context.Context, bin []byte, name string) (exportedFunc, func(), error) {
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithMemoryLimitPages(512))
	closeAll := func() { _ = rt.Close(ctx) }
	mod, err := rt.Instantiate(ctx, bin)
	if err != nil {
		closeAll()
		return exportedFunc{}, nil, err
	}
	f := mod.ExportedFunction(name)
	if f == nil || !slices.Equal(f.Definition().ParamTypes(), []api.ValueType{api.ValueTypeI32}) ||
		!slices.Equal(f.Definition().ResultTypes(), []api.ValueType{api.ValueTypeI64}) {
		closeAll()
		return exportedFunc{}, nil, fmt.Errorf("exports no %s of type (i32) -> i64", name)
	}
	return exportedFunc{mod, f}, closeAll, nil
}
