#include "CMartletGSS.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// RFC 2744 appendix A, as far as it is needed.
typedef struct {
    size_t length;
    void *value;
} buffer_desc;
typedef struct {
    uint32_t length;
    void *elements;
} oid_desc;
typedef struct {
    size_t count;
    oid_desc *elements;
} oid_set_desc;
typedef struct {
    const char *key;
    const char *value;
} store_element_desc;
typedef struct {
    uint32_t count;
    store_element_desc *elements;
} store_desc;

enum { GSS_C_ACCEPT = 2, GSS_C_GSS_CODE = 1, GSS_C_MECH_CODE = 2, GSS_C_INTEG_FLAG = 32 };
static const uint32_t GSS_S_CONTINUE_NEEDED = 1;
static const uint32_t GSS_ERRORS = 0xFFFF0000u;
static const uint32_t GSS_S_NO_CRED = 7u << 16;
static const uint32_t GSS_S_FAILURE = 13u << 16;
// Numbers of the system (errno); those of Kerberos are beyond.
static const uint32_t SYSTEM_ERROR_MAX = 4095;
// Of Kerberos: the keytab has no key of that version, or none at all (RFC 4120 §7.5.9, 44 and 45).
static const uint32_t KRB_AP_ERR_BADKEYVER = 2529638912u + 44;
static const uint32_t KRB_AP_ERR_NOKEY = 2529638912u + 45;

// 1.2.840.113554.1.2.2 (RFC 1964 §1).
static oid_desc kerberos = {9, "\x2a\x86\x48\x86\xf7\x12\x01\x02\x02"};

static struct {
    uint32_t (*acquire_cred_from)(
        uint32_t *, void *, uint32_t, oid_set_desc *, int, const store_desc *, void **, oid_set_desc **, uint32_t *);
    uint32_t (*release_cred)(uint32_t *, void **);
    uint32_t (*accept_sec_context)(
        uint32_t *, void **, void *, buffer_desc *, void *, void **, oid_desc **, buffer_desc *, uint32_t *, uint32_t *, void **);
    uint32_t (*inquire_context)(uint32_t *, void *, void **, void **, uint32_t *, oid_desc **, uint32_t *, int *, int *);
    uint32_t (*delete_sec_context)(uint32_t *, void **, buffer_desc *);
    uint32_t (*display_name)(uint32_t *, void *, buffer_desc *, oid_desc **);
    uint32_t (*release_name)(uint32_t *, void **);
    uint32_t (*wrap)(uint32_t *, void *, int, uint32_t, buffer_desc *, int *, buffer_desc *);
    uint32_t (*unwrap)(uint32_t *, void *, buffer_desc *, buffer_desc *, int *, uint32_t *);
    uint32_t (*release_buffer)(uint32_t *, buffer_desc *);
    uint32_t (*display_status)(uint32_t *, uint32_t, int, oid_desc *, uint32_t *, buffer_desc *);
} gss;

struct cgss_acceptor {
    void *credential;
};

struct cgss_context {
    void *context;
};

// MARK: The library

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char load_fault[CGSS_FAULT_BYTES];

static void load(void) {
    static const struct {
        const char *name;
        void *place;
    } symbols[] = {
        {"gss_acquire_cred_from", &gss.acquire_cred_from}, {"gss_release_cred", &gss.release_cred},
        {"gss_accept_sec_context", &gss.accept_sec_context}, {"gss_inquire_context", &gss.inquire_context},
        {"gss_delete_sec_context", &gss.delete_sec_context}, {"gss_display_name", &gss.display_name},
        {"gss_release_name", &gss.release_name}, {"gss_wrap", &gss.wrap},
        {"gss_unwrap", &gss.unwrap}, {"gss_release_buffer", &gss.release_buffer},
        {"gss_display_status", &gss.display_status},
    };
    void *library = dlopen("libgssapi_krb5.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        const char *why = dlerror();
        snprintf(load_fault, sizeof load_fault, "%s", why ? why : "the library cannot be loaded");
        return;
    }
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *symbol = dlsym(library, symbols[i].name);
        if (!symbol) {
            snprintf(load_fault, sizeof load_fault, "libgssapi_krb5.so.2 has no %s", symbols[i].name);
            return;
        }
        memcpy(symbols[i].place, &symbol, sizeof symbol);
    }
}

const char *cgss_load(void) {
    pthread_once(&once, load);
    return load_fault[0] ? load_fault : NULL;
}

// MARK: What is wrong

static void describe(uint32_t code, int kind, char *fault) {
    uint32_t minor, more = 0;
    buffer_desc text = {0, NULL};
    size_t used = strlen(fault);
    if (gss.display_status(&minor, code, kind, &kerberos, &more, &text) & GSS_ERRORS) return;
    snprintf(fault + used, CGSS_FAULT_BYTES - used, "%s%.*s", used ? ": " : "", (int)text.length, (const char *)text.value);
    gss.release_buffer(&minor, &text);
}

// What the other side has sent is to blame, unless the system has refused a file, or the keys are not there.
static cgss_status failure(uint32_t major, uint32_t minor, char *fault) {
    fault[0] = 0;
    describe(major & GSS_ERRORS, GSS_C_GSS_CODE, fault);
    if (minor) describe(minor, GSS_C_MECH_CODE, fault);
    uint32_t routine = major & GSS_ERRORS;
    if (routine == GSS_S_NO_CRED) return CGSS_FAILED;
    int is_ours = (minor > 0 && minor <= SYSTEM_ERROR_MAX) || minor == KRB_AP_ERR_BADKEYVER || minor == KRB_AP_ERR_NOKEY;
    return routine == GSS_S_FAILURE && is_ours ? CGSS_FAILED : CGSS_REFUSED;
}

static cgss_status say(cgss_status status, const char *text, char *fault) {
    snprintf(fault, CGSS_FAULT_BYTES, "%s", text);
    return status;
}

// MARK: Bytes

/// A copy for the library, which may change what it reads. The caller frees it.
static buffer_desc copy(const uint8_t *bytes, size_t count) {
    buffer_desc buffer = {0, malloc(count > 0 ? count : 1)};
    if (!buffer.value || count == 0) return buffer;
    memcpy(buffer.value, bytes, count);
    buffer.length = count;
    return buffer;
}

/// Copies what belongs to the library, and gives it back.
static int take(buffer_desc *buffer, cgss_bytes *bytes) {
    uint32_t minor;
    *bytes = (cgss_bytes){NULL, 0};
    int taken = 1;
    if (buffer->length > 0) {
        bytes->bytes = malloc(buffer->length);
        taken = bytes->bytes != NULL;
        if (taken) {
            memcpy(bytes->bytes, buffer->value, buffer->length);
            bytes->count = buffer->length;
        }
    }
    if (buffer->value) gss.release_buffer(&minor, buffer);
    return taken;
}

void cgss_free(cgss_bytes bytes) { free(bytes.bytes); }

// MARK: Keys

cgss_acceptor *cgss_acquire(const char *keytab, const char *replays, char *fault) {
    if (cgss_load()) {
        say(CGSS_FAILED, cgss_load(), fault);
        return NULL;
    }
    cgss_acceptor *acceptor = calloc(1, sizeof *acceptor);
    if (!acceptor) {
        say(CGSS_FAILED, "no memory", fault);
        return NULL;
    }
    store_element_desc elements[] = {{"keytab", keytab}, {"rcache", replays}};
    store_desc store = {2, elements};
    oid_set_desc mechanisms = {1, &kerberos};
    uint32_t minor = 0;
    uint32_t major = gss.acquire_cred_from(
        &minor, NULL, 0xFFFFFFFFu, &mechanisms, GSS_C_ACCEPT, &store, &acceptor->credential, NULL, NULL);
    if (!(major & GSS_ERRORS)) return acceptor;
    failure(major, minor, fault);
    free(acceptor);
    return NULL;
}

void cgss_release(cgss_acceptor *acceptor) {
    uint32_t minor;
    gss.release_cred(&minor, &acceptor->credential);
    free(acceptor);
}

// MARK: Contexts

cgss_context *cgss_begin(void) { return calloc(1, sizeof(cgss_context)); }

void cgss_end(cgss_context *context) {
    uint32_t minor;
    if (context->context) gss.delete_sec_context(&minor, &context->context, NULL);
    free(context);
}

static int name(void *named, cgss_bytes *text) {
    uint32_t minor;
    buffer_desc buffer = {0, NULL};
    return !(gss.display_name(&minor, named, &buffer, NULL) & GSS_ERRORS) && take(&buffer, text);
}

/// Who is at the other end of a context that is there.
static cgss_status names(cgss_context *context, cgss_bytes *source, cgss_bytes *target, char *fault) {
    uint32_t minor = 0, flags = 0;
    void *from = NULL, *to = NULL;
    oid_desc *mechanism = NULL;
    uint32_t major = gss.inquire_context(&minor, context->context, &from, &to, NULL, &mechanism, &flags, NULL, NULL);
    if (major & GSS_ERRORS) return failure(major, minor, fault);
    cgss_status status = CGSS_DONE;
    if (!mechanism || mechanism->length != kerberos.length || memcmp(mechanism->elements, kerberos.elements, kerberos.length) != 0) {
        status = say(CGSS_REFUSED, "the mechanism is not Kerberos", fault);
    } else if (!(flags & GSS_C_INTEG_FLAG)) {
        status = say(CGSS_REFUSED, "the context protects nothing", fault);
    } else if (!from || !to || !name(from, source) || !name(to, target)) {
        status = say(CGSS_FAILED, "the names of a context cannot be read", fault);
    }
    if (from) gss.release_name(&minor, &from);
    if (to) gss.release_name(&minor, &to);
    return status;
}

cgss_status cgss_accept(
    cgss_context *context, const cgss_acceptor *acceptor, const uint8_t *token, size_t count, cgss_bytes *answer, cgss_bytes *source, cgss_bytes *target,
    char *fault) {
    uint32_t minor = 0;
    buffer_desc input = copy(token, count);
    buffer_desc output = {0, NULL};
    *answer = *source = *target = (cgss_bytes){NULL, 0};
    if (!input.value) return say(CGSS_FAILED, "no memory", fault);
    // Credentials that the other side hands over are not taken.
    uint32_t major = gss.accept_sec_context(
        &minor, &context->context, acceptor->credential, &input, NULL, NULL, NULL, &output, NULL, NULL, NULL);
    free(input.value);
    // What an error says to the other side in Kerberos' own words has no place in SASL.
    if (!take(&output, answer)) return say(CGSS_FAILED, "no memory", fault);
    if (major & GSS_ERRORS) return failure(major, minor, fault);
    return major & GSS_S_CONTINUE_NEEDED ? CGSS_CONTINUES : names(context, source, target, fault);
}

cgss_status cgss_wrap(cgss_context *context, const uint8_t *message, size_t count, cgss_bytes *answer, char *fault) {
    uint32_t minor = 0;
    buffer_desc input = copy(message, count);
    buffer_desc output = {0, NULL};
    *answer = (cgss_bytes){NULL, 0};
    if (!input.value) return say(CGSS_FAILED, "no memory", fault);
    uint32_t major = gss.wrap(&minor, context->context, 0, 0, &input, NULL, &output);
    free(input.value);
    if (major & GSS_ERRORS) return failure(major, minor, fault);
    return take(&output, answer) ? CGSS_DONE : say(CGSS_FAILED, "no memory", fault);
}

cgss_status cgss_unwrap(cgss_context *context, const uint8_t *message, size_t count, cgss_bytes *answer, char *fault) {
    uint32_t minor = 0;
    buffer_desc input = copy(message, count);
    buffer_desc output = {0, NULL};
    *answer = (cgss_bytes){NULL, 0};
    if (!input.value) return say(CGSS_FAILED, "no memory", fault);
    uint32_t major = gss.unwrap(&minor, context->context, &input, &output, NULL, NULL);
    free(input.value);
    if (major & GSS_ERRORS) return failure(major, minor, fault);
    return take(&output, answer) ? CGSS_DONE : say(CGSS_FAILED, "no memory", fault);
}
