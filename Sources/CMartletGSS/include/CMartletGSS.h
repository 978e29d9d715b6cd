// The system's GSS-API library with Kerberos (MIT's, RFC 2744), loaded when it is asked for: the server runs without it, and is built without its headers.
//
// Only what an acceptor of the SASL mechanism GSSAPI needs (RFC 4752 §3.2). All calls may wait for files: the keytab and the replay cache.
#pragma once

#include <stddef.h>
#include <stdint.h>

/// Bytes that belong to whoever gets them, until `cgss_free`.
typedef struct {
    uint8_t *_Nullable bytes;
    size_t count;
} cgss_bytes;

/// What has become of a call.
typedef enum {
    /// The context is there, or the message has been treated.
    CGSS_DONE,
    /// The other side is to answer the token.
    CGSS_CONTINUES,
    /// What the other side has sent is good for nothing.
    CGSS_REFUSED,
    /// It could not be found out.
    CGSS_FAILED,
} cgss_status;

/// Room for what is said of a fault, the closing zero included.
#define CGSS_FAULT_BYTES 512

/// The keys by which tickets are read.
typedef struct cgss_acceptor cgss_acceptor;
typedef struct cgss_context cgss_context;

/// Loads the library, once and for good. `NULL` if it is there with all that is needed, else what is wrong.
const char *_Nullable cgss_load(void);

/// Takes the keys of a keytab. Files are named as Kerberos names them (`FILE:…`, `file2:…`). One acceptor serves any number of contexts on any threads.
/// `NULL` if it fails; then `fault` says why.
cgss_acceptor *_Nullable cgss_acquire(const char *_Nonnull keytab, const char *_Nonnull replays, char *_Nonnull fault);
void cgss_release(cgss_acceptor *_Nonnull acceptor);

/// A context that is not established yet; `NULL` without memory. It is used by one thread at a time.
cgss_context *_Nullable cgss_begin(void);
void cgss_end(cgss_context *_Nonnull context);

/// Gives a token of the other side to the context. Once it is there, `source` is the name of the other side and `target` that by which it has called us.
cgss_status cgss_accept(
    cgss_context *_Nonnull context, const cgss_acceptor *_Nonnull acceptor, const uint8_t *_Nullable token, size_t count, cgss_bytes *_Nonnull answer,
    cgss_bytes *_Nonnull source, cgss_bytes *_Nonnull target, char *_Nonnull fault);
/// Protects a message against change.
cgss_status cgss_wrap(
    cgss_context *_Nonnull context, const uint8_t *_Nullable message, size_t count, cgss_bytes *_Nonnull answer, char *_Nonnull fault);
/// Takes the protection off a message.
cgss_status cgss_unwrap(
    cgss_context *_Nonnull context, const uint8_t *_Nullable message, size_t count, cgss_bytes *_Nonnull answer, char *_Nonnull fault);

void cgss_free(cgss_bytes bytes);
