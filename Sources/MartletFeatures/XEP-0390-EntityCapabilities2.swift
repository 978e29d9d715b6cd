package import MartletCore
package import MartletXML
import MartletXMPP

extension Namespace {
    package static let entityCapabilities2: Namespace = "urn:xmpp:caps"
    package static let hashes2: Namespace = "urn:xmpp:hashes:2"
}

/// The domain's capabilities in its stream features, in the newer form (§5.3). Those of clients are in their presence.
package struct EntityCapabilities2: StreamFeatureProvider {
    package static let specification = Specification.xep(390, "Entity Capabilities 2.0", version: "0.3.2", note: "SHA-256")
    package let disco = DiscoFeatures(host: [.entityCapabilities2])
    package init() {}

    /// §4.3: before the algorithm, a full stop and the digest.
    static let nodePrefix = "urn:xmpp:caps#"

    package func writeStreamFeatures(to writer: inout XMLWriter, of host: Host) {
        let digest = Self.digest(of: DiscoInfo(ofHost: host))
        writer.element("c", .entityCapabilities2) { $0.element("hash", .hashes2, ["algo": "sha-256"], text: digest) }
    }

    /// The node under which the domain's information is asked for by those who saw its capabilities.
    package static func node(of host: Host) -> String { nodePrefix + "sha-256." + digest(of: DiscoInfo(ofHost: host)) }

    private static func digest(of info: DiscoInfo) -> String { Base64.encode(ScramHash.sha256.digest(input(of: info))) }

    /// What is digested (§4.1).
    static func input(of info: DiscoInfo) -> [UInt8] {
        let identities = info.identities.map { identity -> [UInt8] in
            let parts = [identity.category, identity.type, identity.language ?? "", identity.name ?? ""]
            return parts.flatMap(ended) + [0x1e]
        }
        let forms = info.forms.map { form -> [UInt8] in
            let fields = [DiscoForm.Field(DataForm.typeName, [form.type])] + form.fields
            return joined(fields.map(input)) + [0x1d]
        }
        return joined(info.features.map(ended)) + [0x1c] + joined(identities) + [0x1c] + joined(forms) + [0x1c]
    }

    private static func input(of field: DiscoForm.Field) -> [UInt8] { ended(field.name) + joined(field.values.map(ended)) + [0x1e] }

    private static func ended(_ text: String) -> [UInt8] { Array(text.utf8) + [0x1f] }

    private static func joined(_ parts: [[UInt8]]) -> [UInt8] { parts.sorted { $0.lexicographicallyPrecedes($1) }.flatMap(\.self) }
}

extension CapabilityKey {
    static func newer(_ element: ElementView) -> CapabilityKey? {
        for hash in element.children where hash.isNamed("hash", .hashes2) && hash.attribute("algo") == "sha-256" {
            let digest = hash.text
            if digest.utf8.count <= 64 { return CapabilityKey(node: "\(EntityCapabilities2.nodePrefix)sha-256.\(digest)") }
        }
        return nil
    }
}
