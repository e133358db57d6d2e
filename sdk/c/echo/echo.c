/* echo, subprotocol 0x0007: whatever arrives goes back. The same module as
 * subprotocols/builtin/echo, whose README has the clauses. */
#include <stdlib.h>
#include <string.h>

#define NETHOST_IMPLEMENTATION
#include "nethost.h"

/* What one batch writes from held bytes, so that its effects stay under the limit
 * however many streams get credit at once (E6). */
#define DRAIN_BUDGET (512u << 10)

typedef struct stream {
    struct stream *next;  /* in its bucket */
    struct stream *after; /* in the queue of the ready */
    nh_ref ref;
    uint64_t credit;      /* bytes the far end still takes */
    uint8_t *held;        /* arrived, not yet written: at most the credit we gave */
    size_t len, cap;
    bool fin, queued, done;
} stream;

#define BUCKETS 1024
static stream *table[BUCKETS];
static size_t streams;
static stream *ready, **ready_end = &ready;
static bool draining;

static stream **find(nh_ref ref) {
    stream **s = &table[ref / 2 % BUCKETS]; /* the host's refs are even */
    while (*s && (*s)->ref != ref) s = &(*s)->next;
    return s;
}

static void release(stream *s) {
    free(s->held);
    free(s);
}

/* end forgets a stream. One in the queue is released when its turn comes. */
static void end(stream *s) {
    s->done = true;
    *find(s->ref) = s->next;
    streams--;
    if (!s->queued) release(s);
}

/* put writes what credit and limit allow of b, which is all there is to write, and
 * gives as much credit back (E3, E4, E5). It says whether the stream still exists. */
static bool put(stream *s, const uint8_t *b, size_t len, size_t limit, size_t *written) {
    size_t n = len < limit ? len : limit;
    if (n > s->credit) n = (size_t)s->credit;
    bool fin = s->fin && n == len;
    *written = n;
    if (n > 0 || fin) {
        nh_write(s->ref, (nh_bytes){b, n}, fin);
        s->credit -= n;
    }
    if (fin) {
        end(s);
        return false;
    }
    if (n > 0 && !s->fin) nh_credit(s->ref, n);
    return true;
}

static void hold(stream *s, const uint8_t *b, size_t n) {
    if (s->len + n > s->cap) {
        s->cap = s->len + n > 2 * s->cap ? s->len + n : 2 * s->cap;
        s->held = realloc(s->held, s->cap);
        if (!s->held) abort();
    }
    if (n > 0) memcpy(s->held + s->len, b, n);
    s->len += n;
}

static void drain(void) {
    size_t left = DRAIN_BUDGET, n;
    while (ready && left > 0) {
        stream *s = ready;
        if (!s->done) {
            put(s, s->held, s->len, left, &n);
            left -= n;
            if (!s->done) memmove(s->held, s->held + n, s->len -= n);
        }
        if (s->done || s->len == 0 || s->credit == 0) {
            s->queued = false;
            if (!(ready = s->after)) ready_end = &ready;
            if (s->done) release(s);
        }
    }
    if (ready) {
        nh_post(nh_new_ref(), NH_NONE);
    } else if (draining && streams == 0) {
        draining = false;
        nh_drained();
    }
}

void nh_handle(const nh_event *ev) {
    stream *s;
    size_t n = 0;
    switch (ev->kind) {
    case NH_EV_MESSAGE:
        nh_send(ev->peer, ev->id, NH_REALTIME, ev->data);
        break;
    case NH_EV_STREAM_OPEN:
        s = calloc(1, sizeof *s);
        if (!s) abort();
        s->ref = ev->ref;
        s->credit = ev->arg;
        s->next = table[ev->ref / 2 % BUCKETS];
        table[ev->ref / 2 % BUCKETS] = s;
        streams++;
        break;
    case NH_EV_STREAM_DATA:
        if (!(s = *find(ev->ref))) break;
        s->fin = nh_fin(ev);
        if (s->len > 0 || put(s, ev->data.ptr, ev->data.len, ev->data.len, &n)) hold(s, ev->data.ptr + n, ev->data.len - n);
        break;
    case NH_EV_STREAM_CREDIT:
        if (!(s = *find(ev->ref))) break;
        s->credit += ev->arg;
        if (s->len > 0 && !s->queued) {
            s->queued = true;
            s->after = NULL;
            *ready_end = s;
            ready_end = &s->after;
        }
        break;
    case NH_EV_STREAM_RESET:
        if ((s = *find(ev->ref))) end(s);
        break;
    case NH_EV_DRAIN:
        draining = true;
        break;
    case NH_EV_FLUSH:
        if (draining || ready) drain();
        break;
    }
}
