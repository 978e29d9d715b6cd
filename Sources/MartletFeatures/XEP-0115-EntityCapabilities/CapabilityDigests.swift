package import MartletCore
package import MartletXML
package import MartletXMPP

/// Digests of answers to disco#info, of either protocol.
extension CapabilityKey {
    /// Longest attributes in a presence that are looked at, in bytes: `node` and `ver`.
    private static let bytesMax = 1_024

    /// What a presence says. Of both protocols the newer counts; algorithms that are not known here count as if nothing was said.
    package init?(in presence: borrowing Stanza) {
        if let element = presence.element.root.firstChild("c", .entityCapabilities2), let key = Self.newer(element) {
            self = key
        } else if let element = presence.element.root.firstChild("c", .capabilities), let key = Self.older(element) {
            self = key
        } else {
            return nil
        }
    }

    /// XEP-0115 §4. Without `hash` it is of a version of the protocol that says nothing which could be verified.
    private static func older(_ element: ElementView) -> CapabilityKey? {
        guard element.attribute("hash") == "sha-1", let node = element.attribute("node"), let digest = element.attribute("ver"),
            node.utf8.count <= bytesMax, digest.utf8.count <= bytesMax, !digest.isEmpty
        else { return nil }
        return CapabilityKey(node: "\(node)#\(digest)")
    }

    /// Whether an answer is what the digest stands for (XEP-0115 §5.4, XEP-0390 §4.4).
    package func stands(for info: DiscoInfo) -> Bool {
        if let digest = node.withoutPrefix(EntityCapabilities2.nodePrefix + "sha-256.") {
            return Base64.encode(ScramHash.sha256.digest(EntityCapabilities2.input(of: info))) == digest
        }
        guard info.isWellFormed, info.isUnambiguous, let mark = node.lastIndex(of: "#") else { return false }
        return EntityCapabilities.verificationString(of: info) == node[node.index(after: mark)...]
    }
}

extension DiscoInfo {
    /// XEP-0115 §5.4, 3.3 to 3.5: nothing is there twice.
    fileprivate var isWellFormed: Bool {
        let identities = identities.map { [$0.category, $0.type, $0.language ?? "", $0.name ?? ""] }
        return Set(identities).count == identities.count && Set(features).count == features.count && Set(forms.map(\.type)).count == forms.count
    }

    /// What is digested cannot be read in another way: the older digest says neither where a feature ends nor which of them are in forms
    /// (XEP-0115 §7.2). Clients that have a form have one kind.
    fileprivate var isUnambiguous: Bool {
        let parts = identities.flatMap { [$0.category, $0.type, $0.language ?? "", $0.name ?? ""] } + features
            + forms.flatMap { form in [form.type] + form.fields.flatMap { [$0.name] + $0.values } }
        return parts.allSatisfy { !$0.contains("<") } && forms.allSatisfy { $0.type == "urn:xmpp:dataforms:softwareinfo" }
    }

    /// Reads an answer, in so far as it is of interest and well-formed; forms without a type are none (XEP-0115 §5.4, 3.6).
    ///
    /// - Returns: `nil` for what is no answer to disco#info, or says too much.
    package init?(_ element: ElementView) {
        guard element.isNamed("query", .discoInfo) else { return nil }
        self.init(identities: [], features: [])
        for child in element.children {
            if child.isNamed("identity", .discoInfo), let category = child.attribute("category"), let type = child.attribute("type") {
                identities.append(.init(category, type, name: child.attribute("name"), language: child.attribute("lang", .xml)))
            } else if child.isNamed("feature", .discoInfo), let name = child.attribute("var") {
                features.append(name)
            } else if child.isNamed("x", .dataForms) {
                guard let form = try? DataForm(child) else { return nil }
                if let type = form.type { forms.append(DiscoForm(form, type: type)) }
            }
        }
    }

    /// What a client wants to hear of.
    package var profile: EntityProfile {
        EntityProfile(interests: Set(features.lazy.filter { $0.hasSuffix(Self.notify) }.map { String($0.dropLast(Self.notify.count)) }))
    }
    private static let notify = "+notify"
}

extension DiscoForm {
    fileprivate init(_ form: DataForm, type: String) {
        self.init(type: type, fields: form.fields.compactMap { field in
            guard let name = field.name, name != DataForm.typeName else { return nil }
            let kind = field.kind.flatMap { DiscoForm.Field.Kind(rawValue: $0.rawValue) }
            return DiscoForm.Field(name, field.values, kind ?? (field.values.count > 1 ? .textMulti : .textSingle))
        })
    }
}

extension String {
    fileprivate func withoutPrefix(_ prefix: String) -> Substring? { hasPrefix(prefix) ? dropFirst(prefix.count) : nil }
}
