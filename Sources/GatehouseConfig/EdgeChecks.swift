internal import GatehousePolicy
internal import SIPMessage

// What the keys of `edge` and `core` mean together.
extension Findings {
    mutating func checkEdge(_ configuration: Configuration) {
        let timers = configuration.edge.timers
        if timers.t1 > timers.t2 {
            let key = configuration.sources.contains("edge.timers.t1") ? "edge.timers.t1" : "edge.timers.t2"
            self.fail(
                at: configuration.location(of: key), key,
                "t1 (\(timers.t1.text)) is longer than t2 (\(timers.t2.text))",
                cure: "t2 is the longest retransmission interval: make it the longer one")
        }
        if timers.timerC <= .seconds(180) {
            self.warn(
                at: configuration.location(of: "edge.timers.timer_c"), "edge.timers.timer_c",
                "ends calls that ring for three minutes or less", text: timers.timerC.text,
                cure: "give more than 180s (RFC 3261 section 16.6)")
        }
        if timers.t1 < .milliseconds(500) {
            self.warn(
                at: configuration.location(of: "edge.timers.t1"), "edge.timers.t1",
                "retransmits too early for the internet", text: timers.t1.text,
                cure: "give 500ms or more, except in a test (RFC 3261 section 17.1.1.1)")
        }
        if let admin = configuration.edge.admin, !admin.address.isLoopback {
            self.warn(
                at: configuration.location(of: "edge.admin.bind"), "edge.admin.bind",
                "opens the admin endpoint, which asks for no password, to other hosts", text: admin.description,
                cure: "bind a loopback address, or let a firewall guard it")
        }
        guard configuration.core.advertise == nil else { return }
        for (index, bind) in configuration.core.binds.enumerated() where bind.endpoint.address.isUnspecified {
            let key = "core.bind[\(index)]"
            self.fail(
                at: configuration.location(of: key), key, "is every address, so the core can't be told which to use",
                text: bind.endpoint.description, cure: "give core.advertise, or bind one address")
        }
    }
}
