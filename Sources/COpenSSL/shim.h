// OpenSSL for Swift: the headers, and as static inline functions the macros that Swift cannot see. No logic.
#pragma once
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/decoder.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

// Options are macros with casts.
static const uint64_t shim_SSL_OP_NO_RENEGOTIATION = SSL_OP_NO_RENEGOTIATION;
static const uint64_t shim_SSL_OP_NO_COMPRESSION = SSL_OP_NO_COMPRESSION;
static const uint64_t shim_SSL_OP_CIPHER_SERVER_PREFERENCE = SSL_OP_CIPHER_SERVER_PREFERENCE;
static const uint64_t shim_SSL_OP_PRIORITIZE_CHACHA = SSL_OP_PRIORITIZE_CHACHA;

static inline long shim_SSL_CTX_set_mode(SSL_CTX *c, long mode) { return SSL_CTX_set_mode(c, mode); }
static inline int shim_SSL_CTX_set_min_proto_version(SSL_CTX *c, int v) { return (int)SSL_CTX_set_min_proto_version(c, v); }
static inline int shim_SSL_CTX_set_max_proto_version(SSL_CTX *c, int v) { return (int)SSL_CTX_set_max_proto_version(c, v); }
static inline int shim_SSL_set_min_proto_version(SSL *s, int v) { return (int)SSL_set_min_proto_version(s, v); }
static inline int shim_SSL_set_max_proto_version(SSL *s, int v) { return (int)SSL_set_max_proto_version(s, v); }
static inline long shim_SSL_CTX_set_session_cache_mode(SSL_CTX *c, long m) { return SSL_CTX_set_session_cache_mode(c, m); }
static inline void shim_SSL_CTX_set_read_ahead(SSL_CTX *c, int on) { (void)SSL_CTX_set_read_ahead(c, on); }
static inline void shim_SSL_CTX_set_max_cert_list(SSL_CTX *c, long bytes) { (void)SSL_CTX_set_max_cert_list(c, bytes); }
static inline int shim_SSL_CTX_set1_groups_list(SSL_CTX *c, const char *l) { return (int)SSL_CTX_set1_groups_list(c, l); }
static inline void shim_SSL_CTX_set_tlsext_servername_callback(SSL_CTX *c, int (*f)(SSL *, int *, void *)) {
    (void)SSL_CTX_set_tlsext_servername_callback(c, f);
}
static inline int shim_SSL_CTX_set1_sigalgs_list(SSL_CTX *c, const char *l) { return (int)SSL_CTX_set1_sigalgs_list(c, l); }
static inline int shim_SSL_set_tlsext_host_name(SSL *s, const char *n) { return (int)SSL_set_tlsext_host_name(s, n); }
static inline int shim_SSL_set1_verify_cert_store(SSL *s, X509_STORE *t) { return (int)SSL_set1_verify_cert_store(s, t); }

static inline void shim_BIO_set_retry_read(BIO *b) { BIO_set_retry_read(b); }
static inline void shim_BIO_clear_retry_flags(BIO *b) { BIO_clear_retry_flags(b); }

static inline void shim_OPENSSL_free(void *p) { OPENSSL_free(p); }

static inline STACK_OF(X509) *shim_sk_X509_new_null(void) { return sk_X509_new_null(); }
static inline int shim_sk_X509_push(STACK_OF(X509) *s, X509 *x) { return sk_X509_push(s, x); }
static inline int shim_sk_X509_num(const STACK_OF(X509) *s) { return sk_X509_num(s); }
static inline X509 *shim_sk_X509_value(const STACK_OF(X509) *s, int i) { return sk_X509_value(s, i); }
static inline void shim_sk_X509_free(STACK_OF(X509) *s) { sk_X509_free(s); }
static inline STACK_OF(X509_NAME) *shim_sk_X509_NAME_new_null(void) { return sk_X509_NAME_new_null(); }
static inline int shim_sk_X509_NAME_push(STACK_OF(X509_NAME) *s, X509_NAME *n) { return sk_X509_NAME_push(s, n); }
static inline int shim_sk_X509_NAME_num(const STACK_OF(X509_NAME) *s) { return sk_X509_NAME_num(s); }
static inline void shim_sk_X509_NAME_pop_free(STACK_OF(X509_NAME) *s) { sk_X509_NAME_pop_free(s, X509_NAME_free); }
static inline int shim_sk_GENERAL_NAME_num(const GENERAL_NAMES *s) { return sk_GENERAL_NAME_num(s); }
static inline GENERAL_NAME *shim_sk_GENERAL_NAME_value(const GENERAL_NAMES *s, int i) { return sk_GENERAL_NAME_value(s, i); }
static inline int shim_sk_ASN1_OBJECT_num(const EXTENDED_KEY_USAGE *s) { return sk_ASN1_OBJECT_num(s); }
static inline ASN1_OBJECT *shim_sk_ASN1_OBJECT_value(const EXTENDED_KEY_USAGE *s, int i) { return sk_ASN1_OBJECT_value(s, i); }
static inline int shim_sk_SSL_CIPHER_num(const STACK_OF(SSL_CIPHER) *s) { return sk_SSL_CIPHER_num(s); }
static inline const SSL_CIPHER *shim_sk_SSL_CIPHER_value(const STACK_OF(SSL_CIPHER) *s, int i) { return sk_SSL_CIPHER_value(s, i); }

// OpenSSL keeps pointers to a decoder's strings.
static inline int shim_decode_private_key(
    EVP_PKEY **key, const char *structure, const char *type, const unsigned char *der, size_t length) {
    OSSL_DECODER_CTX *c = OSSL_DECODER_CTX_new_for_pkey(key, "DER", structure, type, EVP_PKEY_KEYPAIR, NULL, NULL);
    int done = c != NULL && OSSL_DECODER_from_data(c, &der, &length);
    OSSL_DECODER_CTX_free(c);
    return done;
}

// Parameter arrays: they keep pointers to their names, which a string passed from Swift does not outlive.
static inline int shim_EVP_MAC_init(EVP_MAC_CTX *c, const unsigned char *key, size_t length, char *name, char *value) {
    OSSL_PARAM p[2] = {OSSL_PARAM_construct_utf8_string(name, value, 0), OSSL_PARAM_construct_end()};
    return EVP_MAC_init(c, key, length, p);
}
static inline int shim_EVP_MAC_init_HMAC_SHA256(EVP_MAC_CTX *c, const unsigned char *key, size_t length) {
    return shim_EVP_MAC_init(c, key, length, OSSL_MAC_PARAM_DIGEST, "SHA256");
}
static inline int shim_EVP_MAC_init_CMAC_AES128(EVP_MAC_CTX *c, const unsigned char *key) {
    return shim_EVP_MAC_init(c, key, 16, OSSL_MAC_PARAM_CIPHER, "AES-128-CBC");
}
