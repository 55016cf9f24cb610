internal import COpenSSL

/// What OpenSSL says of a call that failed.
public struct OpenSSLError: Error, Equatable, CustomStringConvertible {
    /// What was asked of it.
    public var task: String
    /// Its own words; empty where it gave none.
    public var reason: String

    public var description: String {
        self.reason.isEmpty ? "OpenSSL failed: \(self.task)" : "OpenSSL failed: \(self.task): \(self.reason)"
    }

    /// Takes the first entry of this thread's error queue, which is the cause, and empties the queue.
    static func last(_ task: String) -> OpenSSLError {
        OpenSSLError(task: task, reason: reasonText(takeErrorCode()))
    }
}

/// The code of the first entry of this thread's error queue, which it empties; 0 where there is none.
func takeErrorCode() -> UInt {
    let code = ERR_get_error()
    ERR_clear_error()
    return code
}

/// OpenSSL's words for an error code; empty where it has none.
func reasonText(_ code: UInt) -> String {
    guard code != 0 else { return "" }
    return ERR_reason_error_string(code).map { String(cString: $0) } ?? "error \(code)"
}
