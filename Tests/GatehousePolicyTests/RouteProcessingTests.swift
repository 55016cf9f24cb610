import Testing

@Suite("RouteProcessing from outside")
struct OutsideRouteTests {
    @Test(
        "SEC-01: neither an unserved domain nor a foreign Route",
        arguments: [
            RouteRow("INVITE sip:bob@far.example", "403 unservedDomain"),
            RouteRow("MESSAGE sip:bob@10.0.0.5", "403 unservedDomain"),
            RouteRow("OPTIONS sip:far.example", "403 unservedDomain"),
            RouteRow("INVITE sip:bob@edge.example", "403 unservedDomain"),
            RouteRow("REGISTER sip:far.example", "403 unservedDomain"),
            RouteRow("INVITE sip:bob@a.example", ["<sip:far.example;lr>"], "403 foreignRoute"),
            RouteRow("INVITE sip:bob@a.example", ["<sip:10.0.0.5;lr>"], "403 foreignRoute"),
            RouteRow("INVITE sip:bob@a.example", ["<sip:b.example;lr>"], "403 foreignRoute"),
            RouteRow("INVITE sip:bob@a.example", ["<sip:edge.example;lr>, <sip:far.example;lr>"], "403 foreignRoute"),
            RouteRow(
                "INVITE sip:bob@a.example", ["<sip:edge.example;lr>", "<sip:far.example;lr>"], "403 foreignRoute"),
            RouteRow("BYE sip:core-a@edge.example", ["<sip:far.example;lr>"], "403 foreignRoute"),
            RouteRow("REGISTER sip:a.example", ["<sip:far.example;lr>"], "403 foreignRoute"),
            RouteRow("INVITE sip:bob@a.example", "core"),
            RouteRow("INVITE sip:bob@A.EXAMPLE:5061", "core"),
        ])
    func foreign(row: RouteRow) throws {
        #expect(try outcomeFromOutside(row) == row.outcome)
    }

    @Test(
        "RT-01: an own URI at the top of Route goes, in any spelling; the rest decides",
        arguments: [
            RouteRow("INVITE sip:bob@a.example", ["<sip:edge.example;lr>"], "core, own 1"),
            RouteRow("INVITE sip:bob@a.example", ["<sip:192.0.2.1:5061;lr>"], "core, own 1"),
            RouteRow("INVITE sip:bob@a.example", ["<sips:a.example;lr>"], "core, own 1"),
            RouteRow("INVITE sip:bob@a.example", ["<sip:edge.example>"], "core, own 1"),
            RouteRow("REGISTER sip:a.example", ["<sip:A.example:5061;lr>"], "core, own 1"),
            RouteRow("INVITE sip:bob@far.example", ["<sip:edge.example;lr>"], "403 unservedDomain"),
            RouteRow("BYE sip:bob@10.0.0.9", ["<sip:route-a@edge.example;lr>"], "remote target, own 1, session 1"),
            RouteRow(
                "BYE sip:bob@10.0.0.9", ["<sip:route-a@edge.example;lr>, <sip:core.example;lr>"],
                "next sip:core.example;lr, own 1, session 1"),
            RouteRow("BYE sip:core-a@edge.example", "dialog, session 6"),
            RouteRow("BYE sip:core-a@edge.example", ["<sip:edge.example;lr>"], "dialog, own 1, session 6"),
        ])
    func own(row: RouteRow) throws {
        #expect(try outcomeFromOutside(row) == row.outcome)
    }

    @Test(
        "RT-02: both values of our double Record-Route go, and no more than that",
        arguments: [
            RouteRow(
                "BYE sip:bob@10.0.0.9", ["<sip:route-a@edge.example;lr>", "<sip:route-a@10.0.0.1;lr>"],
                "remote target, own 2, session 1"),
            RouteRow(
                "BYE sip:bob@10.0.0.9",
                ["<sip:route-a@edge.example;lr>,<sip:route-a@10.0.0.1;lr>,<sip:core.example;lr>"],
                "next sip:core.example;lr, own 2, session 1"),
            RouteRow(
                "BYE sip:bob@10.0.0.9", ["<sip:edge.example;lr>, <sip:route-a@edge.example;lr>"],
                "remote target, own 2, session 1"),
            // A third value, or a pair of another passage, is the next hop.
            RouteRow(
                "BYE sip:bob@10.0.0.9", Array(repeating: "<sip:route-a@edge.example;lr>", count: 3),
                "next sip:route-a@edge.example;lr, own 2, session 1"),
            RouteRow(
                "BYE sip:bob@10.0.0.9", ["<sip:route-a@edge.example;lr>", "<sip:route-a2@edge.example;lr>"],
                "next sip:route-a2@edge.example;lr, own 1, session 1"),
            RouteRow(
                "BYE sip:bob@10.0.0.9", ["<sip:route-a@edge.example;lr>", "<sip:edge.example;lr>"],
                "next sip:edge.example;lr, own 1, session 1"),
        ])
    func double(row: RouteRow) throws {
        #expect(try outcomeFromOutside(row) == row.outcome)
    }

    @Test(
        "RT-03: where a strict router put our Record-Route value, the last Route value takes its place",
        arguments: [
            RouteRow(
                "BYE sip:route-a@edge.example;lr", ["<sip:bob@10.0.0.9>"],
                "remote target, session 1, uri sip:bob@10.0.0.9, from last <sip:bob@10.0.0.9>"),
            RouteRow(
                "BYE sip:route-a@edge.example;lr", ["<sip:core.example;lr>", "<sip:bob@10.0.0.9>"],
                "next sip:core.example;lr, session 1, uri sip:bob@10.0.0.9, from last <sip:bob@10.0.0.9>"),
            RouteRow(
                "BYE sip:route-a@edge.example;lr", ["<sip:route-a@10.0.0.1;lr>, <sip:bob@10.0.0.9>"],
                "remote target, own 1, session 1, uri sip:bob@10.0.0.9, from last <sip:bob@10.0.0.9>"),
            RouteRow("BYE sip:route-a@edge.example;lr", "404 unknownToken"),
            RouteRow("BYE sip:route-a@edge.example;lr", ["<sip:route-a@10.0.0.1;lr>"], "404 unknownToken"),
            RouteRow("BYE sip:route-b@edge.example;lr", ["<sip:bob@10.0.0.9>"], "403 otherDomain"),
            RouteRow("BYE sip:route-a@edge.example;lr", ["<sips:bob@10.0.0.9>"], isSecure: false, "403 sipsOnPlain"),
        ])
    func strictBefore(row: RouteRow) throws {
        #expect(try outcomeFromOutside(row) == row.outcome)
    }

    @Test(
        "RT-04: a next hop without lr is a strict router",
        arguments: [
            RouteRow(
                "BYE sip:bob@10.0.0.9", ["<sip:route-a@edge.example;lr>, <sip:core.example>"],
                "next sip:core.example, own 1, session 1, to strict <sip:core.example>"),
            RouteRow(
                "BYE sip:bob@10.0.0.9",
                [
                    "<sip:route-a@edge.example;lr>, <sip:route-a@10.0.0.1;lr>",
                    "<sip:core.example>, <sip:c2.example;lr>",
                ],
                "next sip:core.example, own 2, session 1, to strict <sip:core.example>"),
            RouteRow("INVITE sip:bob@a.example", ["<sip:core.example>"], "403 foreignRoute"),
        ])
    func strictBehind(row: RouteRow) throws {
        #expect(try outcomeFromOutside(row) == row.outcome)
    }

    @Test(
        "RT-05: maddr goes where it names the way that the request came",
        arguments: [
            RouteRow("INVITE sip:bob@a.example;maddr=192.0.2.1;transport=tls", "core, without own address"),
            RouteRow("INVITE sip:bob@a.example;maddr=192.0.2.99", "core"),
            RouteRow("OPTIONS sip:a.example;maddr=192.0.2.1", "edge, without own address"),
            RouteRow("INVITE sip:bob@far.example;maddr=192.0.2.1", "403 unservedDomain"),
        ])
    func ownAddress(row: RouteRow) throws {
        #expect(try outcomeFromOutside(row) == row.outcome)
    }

    @Test(
        "RT-08: an altered token in Route, or one that never stands there, is refused",
        arguments: [
            RouteRow("BYE sip:bob@a.example", ["<sip:altered@edge.example;lr>"], "403 alteredToken"),
            RouteRow(
                "BYE sip:bob@a.example", ["<sip:edge.example;lr>, <sip:altered@edge.example;lr>"], "403 alteredToken"),
            RouteRow("BYE sip:bob@a.example", ["<sip:alice@edge.example;lr>"], "403 alteredToken"),
            RouteRow("BYE sip:bob@a.example", ["<sip:core-a@edge.example;lr>"], "403 alteredToken"),
            RouteRow("BYE sip:bob@a.example", ["<sip:device-a@edge.example;lr>"], "403 alteredToken"),
            RouteRow("BYE sip:bob@a.example", ["<sip:path-a@edge.example;lr>"], "403 foreignRoute"),
            RouteRow("BYE sip:bob@a.example", ["<sip:route-b@edge.example;lr>"], "403 otherDomain"),
            RouteRow("BYE sip:altered@edge.example", "404 alteredToken"),
            RouteRow("BYE sip:device-a@edge.example", "404 unknownToken"),
            RouteRow("BYE sip:binding-a@edge.example", "404 unknownToken"),
            RouteRow("BYE sip:path-a@edge.example", "404 unknownToken"),
            // Whatever host it is written with.
            RouteRow("BYE sip:altered@a.example", "404 alteredToken"),
        ])
    func altered(row: RouteRow) throws {
        #expect(try outcomeFromOutside(row) == row.outcome)
    }

    @Test(
        "REG-17: a connection serves its own domain alone",
        arguments: [
            RouteRow("REGISTER sip:b.example", "403 otherDomain"),
            RouteRow("INVITE sip:bob@b.example", "403 otherDomain"),
            RouteRow("OPTIONS sip:b.example", "403 otherDomain"),
            RouteRow("BYE sip:core-b@edge.example", "403 otherDomain"),
            RouteRow("REGISTER sip:a.example", "core"),
        ])
    func otherDomain(row: RouteRow) throws {
        #expect(try outcomeFromOutside(row) == row.outcome)
    }

    @Test(
        "VAL-09: OPTIONS to the edge itself is answered there, anything else without a user is not found",
        arguments: [
            RouteRow("OPTIONS sip:a.example", "edge"), RouteRow("OPTIONS sip:edge.example", "edge"),
            RouteRow("OPTIONS sip:192.0.2.1:5061", "edge"),
            RouteRow("OPTIONS sip:a.example", ["<sip:edge.example;lr>"], "edge, own 1"),
            RouteRow("OPTIONS sip:bob@a.example", "core"), RouteRow("INVITE sip:a.example", "404 notHere"),
            RouteRow("MESSAGE sip:edge.example", "404 notHere"), RouteRow("REGISTER sip:edge.example", "404 notHere"),
        ])
    func itself(row: RouteRow) throws {
        #expect(try outcomeFromOutside(row) == row.outcome)
    }

    @Test(
        "SIPS-16: sips over TCP is TLS; over UDP there is none",
        arguments: [
            RouteRow("INVITE sips:bob@a.example;transport=udp", "400 syntax"),
            RouteRow("INVITE sips:bob@a.example;transport=UDP", "400 syntax"),
            RouteRow("INVITE sips:bob@a.example;transport=tcp", "core"), RouteRow("INVITE sips:bob@a.example", "core"),
            RouteRow("INVITE sip:bob@a.example;transport=udp", "core"),
        ])
    func sipsOverUDP(row: RouteRow) throws {
        #expect(try outcomeFromOutside(row) == row.outcome)
    }

    @Test(
        "SIPS-19: sips does not come over a plain listener",
        arguments: [
            RouteRow("INVITE sips:bob@a.example", isSecure: false, "403 sipsOnPlain"),
            RouteRow("BYE sips:core-a@edge.example", isSecure: false, "403 sipsOnPlain"),
            RouteRow("INVITE sip:bob@a.example", isSecure: false, "core"),
        ])
    func sipsOnPlain(row: RouteRow) throws {
        #expect(try outcomeFromOutside(row) == row.outcome)
    }

    @Test(
        "another scheme is 416, what is no URI 400",
        arguments: [
            RouteRow("INVITE tel:+4930123456", "416 scheme"), RouteRow("INVITE http://a.example/", "416 scheme"),
            RouteRow("INVITE sip:bob@", "400 syntax"),
            RouteRow("INVITE sip:bob@a.example", ["<sip:@>"], "400 syntax"),
            RouteRow("INVITE sip:bob@a.example", ["<sip:edge.example;lr>", "nonsense"], "400 syntax"),
        ])
    func malformed(row: RouteRow) throws {
        #expect(try outcomeFromOutside(row) == row.outcome)
    }
}

@Suite("RouteProcessing from the core")
struct CoreRouteTests {
    @Test(
        "PBX-14: a token finds its device or contact; an altered, misplaced or unknown one finds nobody",
        arguments: [
            RouteRow("OPTIONS sip:device-a@10.0.0.1", "device, session 8"),
            RouteRow("OPTIONS sip:binding-a@10.0.0.1", "binding"),
            RouteRow("OPTIONS sip:altered@10.0.0.1", "404 alteredToken"),
            RouteRow("OPTIONS sip:core-a@10.0.0.1", "404 unknownToken"),
            RouteRow("OPTIONS sip:route-a@10.0.0.1", "404 unknownToken"),
            RouteRow("OPTIONS sip:path-a@10.0.0.1", "404 unknownToken"),
            RouteRow("OPTIONS sip:alice@edge.example", "404 unknownToken"),
            RouteRow("INVITE sip:alice@192.0.2.1", "404 unknownToken"),
            // A Route of somebody else's changes nothing about whose token it is.
            RouteRow("BYE sip:device-a@10.0.0.1", ["<sip:far.example;lr>"], "device, session 8"),
            RouteRow("BYE sip:device-a@10.0.0.1", ["<sip:edge.example;lr>"], "device, own 1, session 8"),
        ])
    func tokens(row: RouteRow) throws {
        #expect(try outcomeFromCore(row) == row.outcome)
    }

    @Test(
        "RT-02: our pair of Route values, or our Path, leads to its flow, of whatever domain",
        arguments: [
            RouteRow("BYE sip:bob@192.0.2.77", ["<sip:route-a@10.0.0.1;lr>"], "flow, own 1, session 1"),
            RouteRow(
                "BYE sip:bob@192.0.2.77", ["<sip:route-a@10.0.0.1;lr>, <sip:route-a@edge.example;lr>"],
                "flow, own 2, session 1"),
            RouteRow(
                "BYE sip:bob@192.0.2.77", ["<sip:route-a@10.0.0.1;lr>, <sip:route-a2@edge.example;lr>"],
                "flow, own 1, session 1"),
            RouteRow("BYE sip:bob@192.0.2.77", ["<sip:route-b@10.0.0.1;lr>"], "flow, own 1, session 3"),
            RouteRow("INVITE sip:bob@192.0.2.77", ["<sip:path-a@10.0.0.1;lr>"], "path, own 1, session 4"),
            RouteRow(
                "INVITE sip:bob@192.0.2.77", ["<sip:path-a@10.0.0.1;lr;ob>, <sip:path-b@10.0.0.1;lr>"],
                "path, own 1, session 4"),
            RouteRow("INVITE sip:bob@192.0.2.77", ["<sip:10.0.0.1;lr>, <sip:path-a@10.0.0.1;lr>"], "elsewhere"),
            RouteRow(
                "INVITE sip:bob@192.0.2.77", ["<sip:edge.example;lr>, <sip:path-a@10.0.0.1;lr>"],
                "path, own 2, session 4"),
        ])
    func flows(row: RouteRow) throws {
        #expect(try outcomeFromCore(row) == row.outcome)
    }

    @Test(
        "RT-03: a strict router of the core's may put our Record-Route value into the Request-URI too",
        arguments: [
            RouteRow(
                "BYE sip:route-a@10.0.0.1;lr", ["<sip:alice@192.0.2.77>"],
                "flow, uri sip:alice@192.0.2.77, from last <sip:alice@192.0.2.77>, session 1"),
            RouteRow(
                "BYE sip:route-a@10.0.0.1;lr", ["<sip:route-a@edge.example;lr>, <sip:alice@192.0.2.77>"],
                "flow, uri sip:alice@192.0.2.77, from last <sip:alice@192.0.2.77>, own 1, session 1"),
            RouteRow(
                "BYE sip:route-a@10.0.0.1;lr", ["<sip:p.example;lr>", "<sip:alice@192.0.2.77>"],
                "flow, uri sip:alice@192.0.2.77, from last <sip:alice@192.0.2.77>, next <sip:p.example;lr>, session 1"),
            RouteRow("BYE sip:route-a@10.0.0.1;lr", ["<sip:route-a@edge.example;lr>"], "404 unknownToken"),
            RouteRow("BYE sip:route-a@10.0.0.1;lr", ["<tel>"], "404 unknownToken"),
        ])
    func strictBefore(row: RouteRow) throws {
        #expect(try outcomeFromCore(row) == row.outcome)
    }

    @Test(
        "PBX-16: what another edge passed on goes by our tokens alone",
        arguments: [
            RouteRow("BYE sip:device-a@10.0.0.1", ["<sip:relay-a@10.0.0.1;lr>"], "device, relayed, own 1, session 8"),
            RouteRow("BYE sip:binding-a@10.0.0.1", ["<sip:relay-a@10.0.0.1;lr>"], "binding, relayed, own 1"),
            RouteRow(
                "BYE sip:bob@192.0.2.77", ["<sip:relay-a@10.0.0.1;lr>, <sip:route-a@10.0.0.1;lr>"],
                "flow, relayed, own 2, session 1"),
            RouteRow(
                "BYE sip:bob@192.0.2.77",
                ["<sip:relay-a@10.0.0.1;lr>, <sip:route-a@10.0.0.1;lr>", "<sip:route-a@a.example;lr>"],
                "flow, relayed, own 3, session 1"),
            RouteRow(
                "BYE sip:bob@192.0.2.77", ["<sip:relay-a@10.0.0.1;lr>, <sip:path-a@10.0.0.1;lr>"],
                "path, relayed, own 2, session 4"),
            RouteRow("BYE sip:bob@192.0.2.77", ["<sip:relay-a@10.0.0.1;lr>"], "404 unknownToken"),
            RouteRow("OPTIONS sip:edge.example", ["<sip:relay-a@10.0.0.1;lr>"], "404 unknownToken"),
            RouteRow("BYE sip:relay-a@10.0.0.1", "404 unknownToken"),
            RouteRow(
                "BYE sip:device-a@10.0.0.1", ["<sip:relay-a@10.0.0.1;lr>, <sip:relay-a@10.0.0.1;lr>"],
                "403 foreignRoute"),
            RouteRow(
                "BYE sip:bob@192.0.2.77", ["<sip:route-a@10.0.0.1;lr>, <sip:relay-a@10.0.0.1;lr>"],
                "403 foreignRoute"),
        ])
    func relayed(row: RouteRow) throws {
        #expect(try outcomeFromCore(row) == row.outcome)
    }

    @Test(
        "PBX-16: nobody outside passes a request on",
        arguments: [
            RouteRow("BYE sip:bob@a.example", ["<sip:relay-a@a.example;lr>"], "403 foreignRoute"),
            RouteRow("BYE sip:relay-a@a.example", "404 unknownToken"),
        ])
    func relayedFromOutside(row: RouteRow) throws {
        #expect(try outcomeFromOutside(row) == row.outcome)
    }

    @Test(
        "RT-08: an altered token in Route is refused",
        arguments: [
            RouteRow("BYE sip:bob@192.0.2.77", ["<sip:altered@10.0.0.1;lr>"], "403 alteredToken"),
            RouteRow("BYE sip:device-a@10.0.0.1", ["<sip:altered@10.0.0.1;lr>"], "403 alteredToken"),
            RouteRow("BYE sip:bob@192.0.2.77", ["<sip:device-a@10.0.0.1;lr>"], "403 alteredToken"),
            RouteRow("BYE sip:bob@192.0.2.77", ["<sip:alice@edge.example;lr>"], "403 alteredToken"),
        ])
    func altered(row: RouteRow) throws {
        #expect(try outcomeFromCore(row) == row.outcome)
    }

    @Test(
        "VAL-09: OPTIONS to the edge itself is answered there",
        arguments: [
            RouteRow("OPTIONS sip:edge.example", "edge"),
            RouteRow("OPTIONS sip:192.0.2.1", ["<sip:edge.example;lr>"], "edge, own 1"),
            RouteRow("INVITE sip:edge.example", "404 notHere"),
            RouteRow("OPTIONS sip:edge.example", ["<sip:far.example;lr>"], "elsewhere"),
        ])
    func itself(row: RouteRow) throws {
        #expect(try outcomeFromCore(row) == row.outcome)
    }

    @Test(
        "SIPS-19: the core may say sips on its plain leg, though not with UDP",
        arguments: [
            RouteRow("INVITE sips:bob@far.example", "elsewhere"),
            RouteRow("INVITE sips:device-a@10.0.0.1", "device, session 8"),
            RouteRow("INVITE sips:bob@far.example;transport=udp", "400 syntax"),
            RouteRow("INVITE sip:bob@far.example", "elsewhere"), RouteRow("INVITE sip:bob@a.example", "elsewhere"),
            RouteRow("INVITE tel:+4930123456", "416 scheme"),
        ])
    func schemes(row: RouteRow) throws {
        #expect(try outcomeFromCore(row) == row.outcome)
    }
}
