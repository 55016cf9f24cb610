import GatehousePolicy
import GatehouseTLS
import SIPMessage
import Synchronization
import Testing

@testable import GatehouseServer

/// The lines of a page that are samples of a family.
private func samples(_ metrics: Metrics, _ family: String) -> [String] {
    String(decoding: metrics.exposition(), as: UTF8.self).split(separator: "\n").map(String.init)
        .filter { $0.hasPrefix(family + "{") || $0.hasPrefix(family + " ") }
}

@Suite("Metrics")
struct MetricsTests {
    @Test("counts of several workers are added up, by domain, direction and method")
    func addsUpWorkers() throws {
        let metrics = Metrics(workers: 2)
        let domains = metrics.domains(["b.example", "a.example"])
        try #require(domains.map(\.name) == ["b.example", "a.example"])
        metrics.workers[0].requestReceived(domains[0], .in, .invite)
        metrics.workers[1].requestReceived(domains[0], .in, .invite)
        metrics.workers[1].requestReceived(domains[0], .out, .bye)
        metrics.shared.requestReceived(domains[1], .in, .other)
        #expect(
            samples(metrics, "gatehouse_requests_total") == [
                #"gatehouse_requests_total{domain="a.example",direction="in",method="other"} 1"#,
                #"gatehouse_requests_total{domain="b.example",direction="in",method="INVITE"} 2"#,
                #"gatehouse_requests_total{domain="b.example",direction="out",method="BYE"} 1"#,
            ])
    }

    @Test(
        "a response counts in its class, an impossible status in the nearest",
        arguments: [
            (100, "1xx"), (200, "2xx"), (302, "3xx"), (480, "4xx"), (503, "5xx"), (603, "6xx"), (7, "1xx"),
            (999, "6xx"),
        ])
    func classes(status: Int, expected: String) {
        let metrics = Metrics(workers: 1)
        metrics.workers[0].responseSent(metrics.domains(["a"])[0], .in, .options, status: status)
        #expect(
            samples(metrics, "gatehouse_responses_total") == [
                #"gatehouse_responses_total{domain="a",direction="in",method="OPTIONS",class="\#(expected)"} 1"#
            ])
    }

    @Test("each counter of a domain has a place of its own, and every label value shows in its family")
    func everyCellIsDistinct() {
        let metrics = Metrics(workers: 1)
        let domain = metrics.domains(["a"])[0]
        let worker = metrics.workers[0]
        var expected = 0
        for direction in MetricDirection.allCases {
            for method in Method.allCases {
                worker.requestReceived(domain, direction, method)
                for statusClass in 1...6 { worker.responseSent(domain, direction, method, status: statusClass * 100) }
                expected += 7
            }
        }
        for transport in Transport.allCases {
            worker.connectionOpened(domain, transport)
            for end in ConnectionEnd.allCases { worker.connectionClosed(domain, transport, end) }
            expected += 1 + ConnectionEnd.allCases.count
        }
        for reason in ConnectionRefusal.allCases { worker.connectionRefused(domain, reason) }
        for cause in TLSFailure.Cause.allCases { worker.handshakeFailed(domain, cause) }
        worker.handshakeCompleted(domain, isResumed: false, version: "TLSv1.2")
        worker.handshakeCompleted(domain, isResumed: true, version: "TLSv1.3")
        for arrival in Arrival.allCases { worker.sessionBegun(domain, arrival) }
        for rule in Refusal.Rule.allCases { worker.refused(domain, rule) }
        for limit in LimitKind.allCases { worker.limitHit(domain, limit) }
        expected += ConnectionRefusal.allCases.count + TLSFailure.Cause.allCases.count + 4 + Arrival.allCases.count
        expected += Refusal.Rule.allCases.count + LimitKind.allCases.count

        let lines = String(decoding: metrics.exposition(), as: UTF8.self).split(separator: "\n")
            .filter { $0.contains(#"domain="a""#) && !$0.hasPrefix("gatehouse_connections_open{") }
        #expect(lines.count == expected)
        #expect(lines.allSatisfy { $0.hasSuffix(" 1") })
        #expect(Set(lines).count == lines.count)
    }

    @Test("label values are the words of the types that they stand for")
    func labelWords() {
        let metrics = Metrics(workers: 1)
        let domain = metrics.domains(["a"])[0]
        let worker = metrics.workers[0]
        worker.handshakeCompleted(domain, isResumed: false, version: "TLSv1.3")
        worker.refused(domain, .callRate)
        worker.limitHit(domain, .requestURI)
        worker.connectionOpened(domain, .tls)
        worker.connectionClosed(domain, .tls, .notSIP)
        worker.handshakeFailed(domain, .refusedByPeer)
        let lines = String(decoding: metrics.exposition(), as: UTF8.self).split(separator: "\n")
        for label in [
            #"version="TLSv1.3""#, #"rule="calls_per_second""#, #"limit="request_uri""#,
            #"transport="tls",reason="not_sip""#, #"result="failed",cause="refused_by_peer""#,
        ] {
            #expect(lines.contains { $0.contains(label) && $0.hasSuffix(" 1") }, "\(label)")
        }
    }

    @Test("connections open now are those opened less those that ended")
    func openConnections() {
        let metrics = Metrics(workers: 2)
        let domain = metrics.domains(["a"])[0]
        for _ in 0..<3 { metrics.workers[0].connectionOpened(domain, .tls) }
        metrics.workers[0].connectionClosed(domain, .tls, .idle)
        metrics.workers[1].connectionOpened(domain, .tcp)
        metrics.workers[1].connectionClosed(domain, .tcp, .peerClosed)
        #expect(
            samples(metrics, "gatehouse_connections_open") == [
                #"gatehouse_connections_open{domain="a",transport="tcp"} 0"#,
                #"gatehouse_connections_open{domain="a",transport="tls"} 2"#,
            ])
    }

    @Test("a domain keeps its counters over a reload, a domain that is gone is no longer shown")
    func countersSurviveReload() {
        let metrics = Metrics(workers: 1)
        let before = metrics.domains(["a", "b"])
        metrics.workers[0].refused(before[0], .forgedTag)
        metrics.workers[0].refused(before[1], .forgedTag)
        let after = metrics.domains(["c", "a"])
        #expect(after[1] === before[0])
        metrics.workers[0].refused(after[1], .forgedTag)
        metrics.workers[0].refused(before[1], .forgedTag)  // a transaction of the old configuration ends late
        #expect(
            samples(metrics, "gatehouse_refusals_total") == [
                #"gatehouse_refusals_total{domain="a",rule="forged_tag"} 2"#
            ])
    }

    @Test("label values are escaped")
    func escapesLabels() {
        let metrics = Metrics(workers: 1)
        metrics.observe(.coreTargetUp) { [MetricSample(["a\"b", "c\\d\ne"], 1)] }
        #expect(
            samples(metrics, "gatehouse_core_target_up") == [
                #"gatehouse_core_target_up{domain="a\"b",target="c\\d\ne"} 1"#
            ])
    }

    @Test(
        "a duration falls in the first bucket whose bound is not below it",
        arguments: [
            (0, 0), (1, 0), (4_000, 0), (4_001, 1), (8_000, 1), (8_001, 2), (16_000, 2), (1_000_000, 8),
            (8_388_608_000, 21), (16_777_216_001, 22), (UInt64.max, 22),
        ] as [(UInt64, Int)])
    func buckets(nanoseconds: UInt64, expected: Int) {
        let bucket = WorkerCells.bucket(nanoseconds: nanoseconds)
        #expect(bucket == expected)
        if bucket < WorkerCells.buckets - 1 {
            #expect(Double(nanoseconds) / 1e9 <= WorkerCells.bound(bucket))
            if bucket > 0 { #expect(Double(nanoseconds) / 1e9 > WorkerCells.bound(bucket - 1)) }
        }
    }

    @Test("the latency histogram is cumulative and ends with +Inf, sum and count")
    func histogram() {
        let metrics = Metrics(workers: 2)
        metrics.workers[0].messageForwarded(.in, nanoseconds: 5_000)
        metrics.workers[1].messageForwarded(.in, nanoseconds: 3_000)
        metrics.workers[1].messageForwarded(.in, nanoseconds: 3_600_000_000_000)
        let page = String(decoding: metrics.exposition(), as: UTF8.self)
        #expect(page.contains(#"gatehouse_message_latency_seconds_bucket{direction="in",le="4e-06"} 1"#))
        #expect(page.contains(#"gatehouse_message_latency_seconds_bucket{direction="in",le="8e-06"} 2"#))
        #expect(page.contains(#"gatehouse_message_latency_seconds_bucket{direction="in",le="8.388608"} 2"#))
        #expect(page.contains(#"gatehouse_message_latency_seconds_bucket{direction="in",le="+Inf"} 3"#))
        #expect(page.contains(#"gatehouse_message_latency_seconds_count{direction="in"} 3"#))
        #expect(page.contains(#"gatehouse_message_latency_seconds_sum{direction="in"} 3600.000008"#))
        #expect(page.contains(#"gatehouse_message_latency_seconds_count{direction="out"} 0"#))
    }

    @Test("reloads count by result, and the generation is the one in force")
    func reloads() {
        let metrics = Metrics(workers: 1)
        metrics.configurationApplied(generation: 1, time: 1000)
        metrics.reloadFailed()
        metrics.configurationApplied(generation: 2, time: 2000.5)
        #expect(
            samples(metrics, "gatehouse_reloads_total") == [
                #"gatehouse_reloads_total{result="success"} 1"#, #"gatehouse_reloads_total{result="failure"} 1"#,
            ])
        #expect(samples(metrics, "gatehouse_configuration_generation") == ["gatehouse_configuration_generation 2"])
        #expect(
            samples(metrics, "gatehouse_configuration_last_success_timestamp_seconds") == [
                "gatehouse_configuration_last_success_timestamp_seconds 2000.5"
            ])
    }

    @Test("every family has HELP and TYPE once and before its samples, and its samples bear its labels")
    func pageIsWellFormed() throws {
        let metrics = Metrics(workers: 1)
        let domain = metrics.domains(["a"])[0]
        metrics.workers[0].connectionOpened(domain, .tls)
        metrics.workers[0].handshakeFailed(domain, .notTLS)
        var seen: [String] = []
        var current: MetricDescription?
        let families = MetricFamily.allCases.map(\.description)
        for line in String(decoding: metrics.exposition(), as: UTF8.self).split(separator: "\n") {
            let words = line.split(separator: " ", maxSplits: 3).map(String.init)
            if words[0] == "#" {
                if words[1] == "HELP" {
                    current = families.first { $0.name == words[2] }
                    seen.append(words[2])
                } else {
                    #expect(words[1] == "TYPE" && words[2] == current?.name && words[3] == current?.kind.rawValue)
                }
                continue
            }
            let family = try #require(current)
            #expect(line.hasPrefix(family.name))
            for label in family.labels { #expect(line.contains("\(label)=\"")) }
            #expect(words.last.flatMap { Double($0) } != nil)
        }
        #expect(seen == families.map(\.name))
        #expect(Set(seen).count == seen.count)
        for family in families {
            #expect(family.kind != .counter || family.name.hasSuffix("_total"))
            #expect(!family.help.contains("\n") && !family.help.hasSuffix("."))
        }
    }

    @Test("the process's own figures are there and plausible")
    func processFigures() throws {
        let metrics = Metrics(workers: 1)
        func value(_ name: String) throws -> Double {
            let line = try #require(samples(metrics, name).first)
            return try #require(line.split(separator: " ").last.flatMap { Double($0) })
        }
        #expect(try value("process_resident_memory_bytes") > 1_000_000)
        #expect(try value("process_open_fds") >= 3)
        #expect(try value("process_max_fds") >= value("process_open_fds"))
        #expect(try value("process_threads") >= 1)
        #expect(try value("process_cpu_seconds_total") > 0)
        let age = try secondsSince1970() - value("process_start_time_seconds")
        #expect(age > -2 && age < 86_400)
    }

    @Test("threads that count at once lose nothing")
    func concurrentCounts() async {
        let metrics = Metrics(workers: 1)
        let domain = metrics.domains(["a"])[0]
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    for _ in 0..<10_000 { metrics.shared.requestReceived(domain, .in, .invite) }
                }
            }
        }
        #expect(
            samples(metrics, "gatehouse_requests_total") == [
                #"gatehouse_requests_total{domain="a",direction="in",method="INVITE"} 40000"#
            ])
    }
}
