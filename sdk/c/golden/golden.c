/* Holds nethost.h to the golden vectors of ABI 1: says what it read of an event, and
 * writes the golden effects when a message asks for them. For tests alone. */
#include <stdio.h>
#include <stdlib.h>

#define NETHOST_IMPLEMENTATION
#include "nethost.h"

static char line[NH_MAX_LOG];
static size_t used;

static void put_text(nh_bytes b) {
    for (size_t i = 0; i < b.len && used < sizeof line; i++) line[used++] = (char)b.ptr[i];
}

static void put_number(const char *name, int64_t n) {
    used += (size_t)snprintf(line + used, sizeof line - used, " %s=%lld", name, (long long)n);
}

static void put_name(const char *name) { used += (size_t)snprintf(line + used, sizeof line - used, " %s=", name); }

static void put_hex(const char *name, nh_bytes b) {
    put_name(name);
    for (size_t i = 0; i < b.len; i++) used += (size_t)snprintf(line + used, sizeof line - used, "%02x", b.ptr[i]);
}

static void put_list(const char *name, nh_bytes rest, const char *between) {
    nh_bytes tag;
    put_name(name);
    for (int i = 0; nh_next_tag(&rest, &tag); i++) {
        if (i > 0) line[used++] = between[(i - 1) % 2];
        put_text(tag);
    }
    if (rest.len > 0) abort();
}

static void describe(const nh_event *ev) {
    nh_bytes key, value;
    nh_start s;
    nh_peer_info p;
    nh_open o;
    used = (size_t)snprintf(line, sizeof line, "kind=%u flags=%u peer=%u id=%u version=%u.%u ref=%llu arg=%llu", ev->kind, ev->flags, ev->peer, ev->id,
                            ev->major, ev->minor, (unsigned long long)ev->ref, (unsigned long long)ev->arg);
    switch (ev->kind) {
    case NH_EV_STATE:
        if (!nh_parse_state(ev->data, &key, &value)) abort();
        put_name("key");
        put_text(key);
        put_name("value");
        put_text(value);
        break;
    case NH_EV_CONFIG: put_list("pairs", ev->data, ":,"); break;
    case NH_EV_START:
        if (!nh_parse_start(ev->data, &s)) abort();
        put_number("reason", s.reason);
        put_hex("self", (nh_bytes){s.self, 32});
        put_number("memory", (int64_t)s.memory);
        put_number("state", (int64_t)s.state);
        put_name("previous");
        put_text(s.previous);
        put_hex("entropy", s.entropy);
        put_hex("secret", s.secret);
        put_list("grants", s.grants, ",,");
        break;
    case NH_EV_PEER_UP:
    case NH_EV_PEER_UPDATE:
        if (!nh_parse_peer(ev->data, &p)) abort();
        put_hex("node", (nh_bytes){p.node, 32});
        put_number("rtt", p.rtt);
        put_number("mtu", p.mtu);
        break;
    case NH_EV_STREAM_OPEN:
        if (!nh_parse_open(ev->data, &o)) abort();
        put_number("from", o.from);
        put_number("hops", o.hops);
        put_number("deadline", o.deadline);
        put_hex("principal", o.principal);
        put_name("method");
        put_text(o.method);
        put_hex("meta", o.meta);
        break;
    case NH_EV_ANNOUNCE_CHANGED: put_list("tags", ev->data, ",,"); break;
    default: put_hex("data", ev->data);
    }
    nh_log(NH_INFO, (nh_bytes){(const uint8_t *)line, used});
}

static void effects(void) {
    const uint8_t node[32] = {[0] = 0xaa, [31] = 0xbb}, signature[64] = {[0] = 1, [63] = 2};
    const nh_peer peers[] = {7, 8};
    const nh_bytes tags[] = {NH_TEXT("telemetry:cpu")};
    nh_send(7, 0x1001, NH_REALTIME, NH_TEXT("message"));
    nh_send(7, 0x1001, NH_BULK, NH_NONE);
    nh_send_many(0x1001, NH_BULK, peers, 2, NH_TEXT("to many"));
    nh_connect(nh_new_ref(), node);
    nh_open_peer(7, 0x1001, &(nh_open){.method = NH_TEXT("add"), .deadline = 1000000000});
    nh_open_module(0x0c00, &(nh_open){.method = NH_TEXT("find"), .hops = 1});
    nh_write(3, NH_TEXT("12345678"), false);
    nh_write(3, NH_NONE, true);
    nh_credit(3, 1000);
    nh_reset(5, NH_OVERLOADED, NH_TEXT("later"));
    nh_after(1, 50000000);
    nh_after(1, 1);
    nh_cancel_timer(1);
    nh_put(NH_TEXT("key"), NH_TEXT("value"));
    nh_delete(NH_TEXT("key"));
    nh_commit(7);
    nh_post(9, NH_TEXT("note"));
    nh_announce(tags, 1);
    nh_sign(11, NH_TEXT("statement"));
    nh_verify(13, node, signature, NH_TEXT("statement"));
    nh_log(NH_WARN, NH_TEXT("careful"));
    nh_count(NH_TEXT("packets"), 3);
    nh_penalize(7, 10, NH_TEXT("rude"));
    nh_drained();
}

void nh_handle(const nh_event *ev) {
    if (ev->kind == NH_EV_MESSAGE && nh_same(ev->data, NH_TEXT("effects"))) {
        effects();
    } else if (ev->kind == NH_EV_MESSAGE && nh_same(ev->data, NH_TEXT("hold"))) {
        nh_try_send(15, 7, 0x1001, NH_BULK, 0, NH_TEXT("if there is room"));
        nh_send_within(20000000, 7, 0x1001, NH_REALTIME, NH_TEXT("now or never"));
    } else if (ev->kind != NH_EV_FLUSH) {
        describe(ev);
    } else if (nh_wall() != 0) {
        used = (size_t)snprintf(line, sizeof line, "now=%lld wall=%lld", (long long)nh_now(), (long long)nh_wall());
        nh_log(NH_INFO, (nh_bytes){(const uint8_t *)line, used});
    }
}
