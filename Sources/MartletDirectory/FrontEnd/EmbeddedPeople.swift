package import MartletCore
import MartletLDAP
import MartletXML
import MartletXMPP
import NIOCore

/// An account as an entry: what its card says (XEP-0054), which everybody may read.
struct EmbeddedPerson: Hashable, Sendable {
    let address: BareJID
    let entry: LDAPEntry

    static let attributes = [
        "objectClass", "uid", "cn", "displayName", "sn", "givenName", "mail", "telephoneNumber", "mobile", "homePhone", "facsimileTelephoneNumber", "title", "o",
        "ou", "labeledURI", "xmppAddress",
    ]
    private static let classes = ["top", "person", "organizationalPerson", "inetOrgPerson", "xmppUser"]

    /// RFC 4519 §3.12, §3.7 and RFC 2798, as far as entries here have it.
    static let classDefinitions = [
        "( 2.5.6.0 NAME 'top' ABSTRACT MUST objectClass )",
        "( 2.5.6.6 NAME 'person' SUP top STRUCTURAL MUST ( sn $ cn ) MAY telephoneNumber )",
        "( 2.5.6.7 NAME 'organizationalPerson' SUP person STRUCTURAL MAY ( title $ facsimileTelephoneNumber $ ou ) )",
        "( 2.16.840.1.113730.3.2.2 NAME 'inetOrgPerson' SUP organizationalPerson STRUCTURAL "
            + "MAY ( displayName $ givenName $ homePhone $ labeledURI $ mail $ mobile $ o $ uid ) )",
        "( \(MartletSchema.arc).2.1 NAME 'xmppUser' SUP top AUXILIARY MAY xmppAddress )",
    ]

    /// Most values of one attribute.
    static let valuesMax = 10

    /// - Parameter card: as it is stored; `nil` if there is none.
    init(_ address: BareJID, named entryName: DistinguishedName, card: ByteBuffer?) {
        self.address = address
        let localpart = address.localpart ?? ""
        let element = card.flatMap { try? parseElement($0, limits: .ownWriting, defaultNamespace: .none) }?.root
        let reader = CardReader(element.flatMap { $0.isNamed("vCard", .vCard) ? $0 : nil })
        let name = reader.texts("FN").first ?? localpart
        var attributes = [
            LDAPAttribute("objectClass", strings: Self.classes), LDAPAttribute("uid", localpart), LDAPAttribute("cn", name), LDAPAttribute("displayName", name),
            LDAPAttribute("sn", reader.texts("N", "FAMILY").first ?? name.split(separator: " ").last.map(String.init) ?? localpart),
            LDAPAttribute("xmppAddress", address.description),
        ]
        for (attribute, values) in reader.attributes where !values.isEmpty { attributes.append(LDAPAttribute(attribute, strings: values)) }
        entry = LDAPEntry(entryName.description, attributes)
    }
}

/// Reads a card, each text as one harmless line.
private struct CardReader {
    private let card: ElementView?

    init(_ card: ElementView?) { self.card = card }

    func texts(_ name: StaticString, _ part: StaticString? = nil, where isMeant: (ElementView) -> Bool = { _ in true }) -> [String] {
        guard let card else { return [] }
        var texts: [String] = []
        for child in card.children where child.isNamed(name, .vCard) && isMeant(child) {
            guard texts.count < EmbeddedPerson.valuesMax else { break }
            let element = part.map { child.firstChild($0, .vCard) } ?? child
            if let text = element.flatMap({ PresenceSummary.line($0.text) }), !texts.contains(text) { texts.append(text) }
        }
        return texts
    }

    var attributes: [(String, [String])] {
        [
            ("givenName", texts("N", "GIVEN")), ("mail", texts("EMAIL", "USERID").filter { $0.utf8.allSatisfy { $0 < 0x80 } }),
            ("telephoneNumber", texts("TEL", "NUMBER") { Self.isPlain($0) }), ("mobile", texts("TEL", "NUMBER") { Self.has("CELL", $0) }),
            ("homePhone", texts("TEL", "NUMBER") { Self.has("HOME", $0) && !Self.has("CELL", $0) && !Self.has("FAX", $0) }),
            ("facsimileTelephoneNumber", texts("TEL", "NUMBER") { Self.has("FAX", $0) }), ("title", texts("TITLE")), ("o", texts("ORG", "ORGNAME")),
            ("ou", texts("ORG", "ORGUNIT")), ("labeledURI", texts("URL")),
        ]
    }

    private static func has(_ kind: StaticString, _ telephone: ElementView) -> Bool { telephone.firstChild(kind, .vCard) != nil }

    private static func isPlain(_ telephone: ElementView) -> Bool {
        !has("CELL", telephone) && !has("FAX", telephone) && !has("HOME", telephone) && !has("PAGER", telephone)
    }
}

/// The people of this server's domains. Read as a whole, at most once in a while, however many ask.
///
/// An actor, for the control plane: those who ask while it is being read wait for one reading.
package actor EmbeddedPeople {
    /// Most accounts of a domain that are shown; where there are more, searches are refused.
    package static let accountsMax = 20_000
    /// For how long what was read is good enough.
    static let freshFor = TimeAmount.seconds(30)
    private static let pageMax = 500

    package enum Failure: Error, Hashable { case tooMany, unavailable }

    private struct Reading {
        let began: NIODeadline
        let task: Task<Result<[EmbeddedPerson], Failure>, Never>
    }

    private let store: any Store
    private let tree: EmbeddedTree
    private let time: any TimeSource
    private var readings: [BareJID: Reading] = [:]

    package init(_ store: any Store, in tree: EmbeddedTree, time: any TimeSource) {
        self.store = store
        self.tree = tree
        self.time = time
    }

    /// In the order of their addresses.
    func people(of domain: BareJID) async throws(Failure) -> [EmbeddedPerson] {
        let reading: Reading
        if let known = readings[domain], known.began + Self.freshFor > time.monotonic {
            reading = known
        } else {
            // A task of its own: it goes on when the one who began it is gone.
            reading = Reading(began: time.monotonic, task: Task { [store, tree] in await Self.read(domain, store, tree) })
            readings[domain] = reading
        }
        let result = await reading.task.value
        if case .failure = result, readings[domain]?.began == reading.began { readings[domain] = nil }
        return try result.get()
    }

    private static func read(_ domain: BareJID, _ store: any Store, _ tree: EmbeddedTree) async -> Result<[EmbeddedPerson], Failure> {
        var people: [EmbeddedPerson] = []
        var last: BareJID?
        do throws(StoreError) {
            while true {
                let page = try await store.accounts(domain: domain.domainpart, after: last, limit: pageMax)
                guard people.count + page.count <= accountsMax else { return .failure(.tooMany) }
                for account in page where account.isEnabled {
                    guard let identity = try await store.credentials(of: account.address) else { continue }
                    people.append(EmbeddedPerson(account.address, named: tree.name(of: account.address), card: try await store.document(identity.id, .vCard)))
                }
                guard page.count == pageMax else { break }
                last = page.last?.address
            }
        } catch {
            return .failure(.unavailable)
        }
        return .success(people)
    }
}
