internal import SIPMessage

/// Who may ask the admin endpoint, as far as a request's headers tell.
///
/// It has no password: a loopback address is what guards it. A web page in a browser on the same machine must not pass
/// that guard, neither by a name of its own that resolves to 127.0.0.1 nor by posting a form.
enum AdminAccess {
    /// What is wrong with a request.
    struct Fault: Error, Equatable {
        var status: Int
        var reason: String
    }

    /// - Parameters:
    ///   - hosts: the values of all Host fields.
    ///   - isLoopback: whether the endpoint is bound to a loopback address.
    static func check(_ request: AdminRequest, isLoopback: Bool) throws(Fault) {
        guard request.hosts.count <= 1, request.hosts.count == 1 || request.isHTTP10 else {
            throw Fault(status: 400, reason: "a request needs exactly one Host")
        }
        if isLoopback, let host = request.hosts.first, !Self.isLocalName(host) {
            throw Fault(status: 403, reason: "the Host must be an address or localhost, not \(host)")
        }
        guard request.method == "POST" else { return }
        if let origin = request.origin, origin != request.hosts.first.map({ "http://\($0)" }) {
            throw Fault(status: 403, reason: "requests from pages of another origin are refused")
        }
        if let site = request.fetchSite, site != "same-origin", site != "none" {
            throw Fault(status: 403, reason: "requests from pages of another site are refused")
        }
    }

    /// An IP address or `localhost`, with or without a port: no name that somebody else's DNS could answer for.
    static func isLocalName(_ host: String) -> Bool {
        if host.hasPrefix("[") {
            guard let end = host.firstIndex(of: "]") else { return false }
            let rest = host[host.index(after: end)...]
            let address = String(host[host.index(after: host.startIndex)..<end])
            return (rest.isEmpty || rest.hasPrefix(":")) && IPAddress(address)?.isIPv6 == true
        }
        let name = String(host.prefix { $0 != ":" })
        return name.lowercased() == "localhost" || IPAddress(name) != nil
    }
}
