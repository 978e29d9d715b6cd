package import MartletCore
package import MartletXML
import MartletXMPP

extension Namespace {
    package static let capabilities: Namespace = "http://jabber.org/protocol/caps"
}

/// The domain's capabilities in its stream features (§6.3), and those of clients, which are in their presence: what their digests stand for is
/// asked of one of them and remembered (`ClientCapabilities.swift`).
package struct EntityCapabilities: StreamFeatureProvider {
    package static let specification = Specification.xep(115, "Entity Capabilities", version: "1.6.0", note: "SHA-1")
    package let disco = DiscoFeatures(host: [.capabilities])
    let cache: CapabilityCache

    package init(cache: CapabilityCache = CapabilityCache()) { self.cache = cache }

    /// What names the software; together with the verification string it is the node of the domain's disco#info (§6.2).
    package static let software = "urn:x-martlet"

    package func writeStreamFeatures(to writer: inout XMLWriter, of host: Host) {
        let verification = Self.verificationString(of: DiscoInfo(ofHost: host))
        writer.element("c", .capabilities, ["hash": "sha-1", "node": Self.software, "ver": verification])
    }

    /// The node under which the domain's information is asked for by those who saw its capabilities.
    package static func node(of host: Host) -> String { software + "#" + verificationString(of: DiscoInfo(ofHost: host)) }

    /// §5.1. SHA-1, because it is the one that everybody knows; nothing secret hangs on it.
    package static func verificationString(of info: DiscoInfo) -> String {
        Base64.encode(ScramHash.sha1.digest(Array(verified(info).utf8)))
    }

    private static func verified(_ info: DiscoInfo) -> String {
        let identities = info.identities.map { "\($0.category)/\($0.type)/\($0.language ?? "")/\($0.name ?? "")" }
        let forms = info.forms.sorted { precedes($0.type, $1.type) }.map { form in
            let fields = form.fields.sorted { precedes($0.name, $1.name) }.map { field in
                joined([field.name] + field.values.sorted(by: precedes))
            }
            return joined([form.type]) + fields.joined()
        }
        return joined(identities.sorted(by: precedes)) + joined(info.features.sorted(by: precedes)) + forms.joined()
    }

    private static func joined(_ parts: [String]) -> String { parts.map { $0 + "<" }.joined() }

    /// The collation "i;octet" (RFC 4790 §9.3).
    private static func precedes(_ a: String, _ b: String) -> Bool { a.utf8.lexicographicallyPrecedes(b.utf8) }
}
