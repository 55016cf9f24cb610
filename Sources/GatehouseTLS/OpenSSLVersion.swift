internal import COpenSSL

/// The OpenSSL that the process runs with, which need not be the one that it was built with.
public enum OpenSSLVersion {
    /// As `3.0.15`.
    public static let text = OpenSSL_version(OPENSSL_VERSION_STRING).map { String(cString: $0) } ?? "unknown"
}
