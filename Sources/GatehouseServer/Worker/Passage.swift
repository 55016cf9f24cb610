internal import GatehouseNet
internal import GatehousePolicy
internal import SIPMessage

/// How one request crosses the edge: all that its responses need to be turned back into what the other side expects.
struct Passage {
    enum Direction {
        case toCore
        case toOutside
        /// To another edge with our secret, which has the device's flow.
        case toFellow
    }

    var direction: Direction
    var domain: DomainRuntime
    var session: Session
    /// The device's flow: where a request towards the core came from, or one towards the outside goes.
    var flow: FlowReference?
    /// The registration that the device is found by when that flow is gone.
    var binding: BindingKey?
    /// The name that a peer outside was looked up by: it stays the dialog's, whatever address the peer names itself by.
    var peer: [UInt8] = []
    /// Our listener as the URIs say that the device sees.
    var outside: OutsideService
    /// Whether the leg outside is TLS.
    var isOutsideSecure: Bool
    /// Whether our URIs towards the device say `transport=tls`, because it wrote that itself (RR-03).
    var mirrorsTransport: Bool
    /// The core bind that the core is spoken to by.
    var coreBind: Int
    /// Where the core server is reached in later requests of the dialog.
    var coreTransport: Transport
    var coreTarget: Endpoint
    /// Of a REGISTER towards a `pbx` core.
    var registration: Registration?
    /// Of a REFER whose target the edge has to judge or to write anew.
    var referral: Referral?

    /// Whether URIs that the device sees of us are `sips:`; not on a leg that an override let go without TLS.
    var isSIPS: Bool { self.session.arrival == .sips && self.isOutsideSecure }
}

/// The contacts of a REGISTER, as the device wrote them and as a `pbx` core sees them.
struct Registration {
    struct Contact {
        var uri: [UInt8]
        var key: BindingKey
        /// The user part of the URI that the core sees.
        var token: [UInt8]
        /// Whether it names its device and the device's connection, by instance and reg-id (RFC 5626 §4.2).
        var hasInstance: Bool
        /// Whether it asks for the end of the binding: `expires=0`.
        var isEnding: Bool
        /// Whether another contact of the REGISTER has its name, and takes its place.
        var isReplaced = false
    }

    /// `user@host` of the address of record.
    var aor: [UInt8]
    var contacts: [Contact]
    /// `Contact: *`.
    var isWildcard: Bool

    /// Leaves one contact a name: a device that comes from a new address ends its old Contact in the same REGISTER.
    mutating func settleNames() {
        for index in self.contacts.indices {
            let contact = self.contacts[index]
            self.contacts[index].isReplaced = self.contacts.indices.contains { other in
                guard other != index, self.contacts[other].key == contact.key else { return false }
                return contact.isEnding == self.contacts[other].isEnding ? other > index : contact.isEnding
            }
        }
    }
}
