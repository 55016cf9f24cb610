internal import GatehousePolicy
internal import GatehouseTLS
internal import SIPMessage

// What `gatehouse demo` prints.

extension Demo {
    /// Before the call: what runs where.
    static func opening(_ site: Site) -> String {
        """
        Gatehouse serves two domains on one address, each with its own certificate, before a PBX that speaks plain SIP:

          phones    TLS  \(site.outside)    \(Site.domains.joined(separator: ", "))
          the PBX   UDP  \(site.pbx)    reaches the edge at \(site.coreBind)
          admin     http://\(site.admin)/
          files     \(site.configurationPath)
                    certificates \(self.origin(of: site))
        """
    }

    private static func origin(of site: Site) -> String {
        site.usesOwnCertificates ? "made for this run, in \(site.certificates)" : "of \(site.certificates)"
    }

    private static func caption(_ facts: TLSFacts) -> String {
        let names = facts.verified?.names.dnsNames ?? []
        let shown = names.prefix(2).joined(separator: ", ") + (names.count > 2 ? ", …" : "")
        return "\(facts.version), \(facts.cipher); the certificate names \(shown)"
    }

    /// The call: its ladder, and what protected it.
    static func story(alice: TLSFacts, bob: TLSFacts, ladder: String, session: String?) -> String {
        let head = Ladder.head([
            ("alice", alice.version), ("gatehouse", Site.domains[0]), ("PBX", "UDP"), ("gatehouse", Site.domains[1]),
            ("bob", bob.version),
        ])
        return """
            alice@\(Site.domains[0]) calls bob, who is registered at \(Site.domains[1]):

            \(head)
            \(ladder)

              alice   \(self.caption(alice))
              bob     \(self.caption(bob))

            The PBX saw in alice's INVITE how her session arrived, and copied it into the INVITE to bob:

              X-Gatehouse-Session: \(self.folded(session ?? "(it saw none)"))

            Because it says that the session arrived as sips, gatehouse sends that leg by TLS or not at all.
            """
    }

    /// A long header value at its semicolons.
    private static func folded(_ value: String) -> String {
        var lines = [""]
        for part in value.split(separator: ";") {
            let text = part.drop { $0 == " " }
            if lines[lines.count - 1].count + text.count > 84 { lines.append("") }
            lines[lines.count - 1] += (lines[lines.count - 1].isEmpty ? "" : "; ") + text
        }
        return lines.joined(separator: ";\n      ")
    }

    /// After the call: how to go on.
    static func invitation(_ site: Site) -> String {
        """
        It goes on serving until you press Ctrl-C. With baresip as a phone, for example, write into ~/.baresip/accounts

          <sip:carol@\(Site.domains[0]);transport=tls>;auth_pass=any;outbound="sip:\(site.outside);transport=tls"

        and into ~/.baresip/config

          sip_cafile \(site.authority)

        Any name and password will do. Two such phones can call each other; a name that nobody has registered, as in
        /dial dave, is answered by the PBX itself, without sound. Meanwhile, in another terminal:

          gatehouse status       gatehouse connections       gatehouse bindings\(self.adminOption(site))
        """
    }

    private static func adminOption(_ site: Site) -> String {
        site.admin.port == 8061 ? "" : "       (each with --admin http://\(site.admin))"
    }
}
