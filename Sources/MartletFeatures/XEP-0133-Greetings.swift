package import MartletCore
import MartletXML
import MartletXMPP
import NIOCore
import Synchronization

/// What a domain says to those who come (XEP-0133 §4.24–§4.28): its message of the day, once to each account, at once or when it comes the next
/// time; its welcome, once to each account that comes for the first time.
///
/// Each text is the one item of a node of the domain's that no service gives out (``Greetings/Kind/node``): so it is kept. Which of them an
/// account was told is a document of its own. It is told first, and that is written then: after a crash it may be told once more, and never
/// once too few.
final class Greetings: Sendable {
    enum Kind: String, Hashable, Sendable, CaseIterable {
        case motd, welcome
        var node: String { "urn:x-martlet:\(rawValue)" }
    }

    /// One text, with a name that no other text of a domain's ever has.
    struct Text: Hashable, Sendable {
        var id: String
        var text: String
    }

    private enum State {
        /// Not read yet; these accounts have come meanwhile.
        case unknown(Set<BareJID>, isReading: Bool)
        case known([Kind: Text])
    }

    // Asked once for a session that comes, under its shard's lock, and never held across anything.
    private let state = Mutex(State.unknown([], isReading: false))
    /// Administrators who change something: each finds what the one before has made of it.
    private let turns = Turns<BareJID>()

    // MARK: Who comes

    func greeting(for home: AccountHome, _ router: Router, _ context: LoopContext) -> Greeting {
        guard let texts = texts(askedFor: home.address, router, context), !texts.isEmpty else { return Greeting() }
        let before = GreetingRecord(home.documents[.greetings])
        let (told, record) = before.telling(texts, isNew: home.lastActivity == nil)
        guard record != before else { return Greeting() }
        home.documents[.greetings] = record.document
        let domain = home.address.domain
        return Greeting(
            messages: told.map { Self.message($0.0, $0.1, from: domain, to: home.address) }, writes: [.document(home.id, .greetings, record.document)])
    }

    /// A welcome can be read later as well; what is said of the day is for the day.
    private static func message(_ kind: Kind, _ text: String, from domain: BareJID, to account: BareJID) -> EncodedStanza {
        StanzaBuilder.message(kind == .motd ? .headline : .normal, from: .bare(domain), to: .bare(account)) { $0.element("body", .client, text: text) }
    }

    /// - Returns: `nil` if it is not known yet; then whoever comes is told when it is.
    private func texts(askedFor account: BareJID, _ router: Router, _ context: LoopContext) -> [Kind: Text]? {
        let (texts, mustRead): ([Kind: Text]?, Bool) = state.withLock { state in
            switch state {
            case .known(let texts): return (texts, false)
            case .unknown(var accounts, let isReading):
                accounts.insert(account)
                state = .unknown(accounts, isReading: true)
                return (nil, !isReading)
            }
        }
        if mustRead { read(account.domain, router, on: context.mailbox) }
        return texts
    }

    // MARK: Reading

    /// Once after a start or a reload; who comes does not wait for it.
    private func read(_ domain: BareJID, _ router: Router, on mailbox: LoopMailbox) {
        Self.load(domain, router.store) { [self] result in
            let texts = try? result.get().compactMapValues(\.text)
            let waiting: Set<BareJID> = state.withLock { state in
                // An administrator was faster.
                guard case .unknown(let accounts, _) = state else { return [] }
                state = texts.map(State.known) ?? .unknown([], isReading: false)
                return accounts
            }
            // Whoever comes after one that could not be read has it read again.
            if texts != nil, !waiting.isEmpty { mailbox.run { router.greet(waiting, $0) } }
        }
    }

    /// A node of one of the kinds, and what is in it.
    private struct Stored: Sendable {
        let node: NodeID
        let text: Text?
    }

    private static func load(_ domain: BareJID, _ store: any Store, _ done: @escaping @Sendable (Result<[Kind: Stored], StoreError>) -> Void) {
        store.loadNodes(of: .service(domain.domainpart)) { result in
            guard let all = try? result.get() else { return done(result.map { _ in [:] }) }
            let nodes = Dictionary(
                Kind.allCases.compactMap { kind in all.first { $0.name == kind.node }.map { (kind, $0.id) } }, uniquingKeysWith: { first, _ in first })
            store.loadLastItems(of: Array(nodes.values)) { result in
                done(result.map { items in nodes.mapValues { Stored(node: $0, text: items[$0].flatMap(Text.init)) } })
            }
        }
    }

    private static func stored(of domain: BareJID, _ store: any Store) async throws(StoreError) -> [Kind: Stored] {
        let result = await withCheckedContinuation { continuation in load(domain, store) { continuation.resume(returning: $0) } }
        return try result.get()
    }

    // MARK: Administration

    /// What there is now, read anew.
    func texts(of domain: BareJID, _ router: Router) async throws(StanzaError) -> [Kind: Text] {
        do throws(StoreError) { return try await Self.stored(of: domain, router.store).compactMapValues(\.text) } catch { throw StanzaError(refusal: error) }
    }

    /// Puts a text in place of what there is.
    ///
    /// - Parameter id: of the text that it corrects: whoever was told that is not told this.
    func set(_ kind: Kind, _ text: String, correcting id: String? = nil, _ call: ServerCommand.Call) async throws(StanzaError) {
        let (domain, names, router) = (call.host.domain, call.router.ids, call.router)
        try await enter(domain)
        defer { turns.leave(domain) }
        let place = names.next(after: names.used, wallMilliseconds: call.now)
        let made = Text(id: id ?? String(place), text: text)
        do throws(StoreError) {
            let known = try await Self.stored(of: domain, router.store)[kind]?.node
            let node = known ?? NodeID(raw: place)
            let item = NodeItem(name: kind.rawValue, place: place, time: call.now, publisher: call.actor, payload: made.payload)
            var writes: [Write] = [.node(.publish(node, item))]
            if known == nil {
                let new = StoredNode(id: node, name: kind.node, created: call.now, record: NodeRecord())
                writes.insert(.node(.create(.service(domain.domainpart), new)), at: 0)
            }
            try await router.store.commit(writes)
            try await changed(domain, call)
        } catch { throw StanzaError(refusal: error) }
        router.audit.record(.greetingSet(domain, kind.rawValue, isSet: true, by: call.by))
        if kind == .motd, id == nil { call.mailbox.run { router.greet(router.accountsOnline(at: domain), $0) } }
    }

    /// - Returns: whether there was one.
    func delete(_ kind: Kind, _ call: ServerCommand.Call) async throws(StanzaError) -> Bool {
        let domain = call.host.domain
        try await enter(domain)
        defer { turns.leave(domain) }
        do throws(StoreError) {
            guard let node = try await Self.stored(of: domain, call.router.store)[kind]?.node else { return false }
            try await call.router.store.commit([.node(.delete(node))])
            try await changed(domain, call)
        } catch { throw StanzaError(refusal: error) }
        call.router.audit.record(.greetingSet(domain, kind.rawValue, isSet: false, by: call.by))
        return true
    }

    private func enter(_ domain: BareJID) async throws(StanzaError) {
        guard await turns.enter(domain) else { throw .resourceConstraint("too many administrators change something at once") }
    }

    private func changed(_ domain: BareJID, _ call: ServerCommand.Call) async throws(StoreError) {
        let texts = try await Self.stored(of: domain, call.router.store).compactMapValues(\.text)
        let waiting: Set<BareJID> = state.withLock { state in
            defer { state = .known(texts) }
            if case .unknown(let accounts, _) = state { return accounts }
            return []
        }
        let router = call.router
        if !waiting.isEmpty { call.mailbox.run { router.greet(waiting, $0) } }
    }
}

extension Greetings.Text {
    private static let namespace: Namespace = "urn:x-martlet:greetings"

    fileprivate init?(_ item: NodeItem) {
        guard let element = try? parseElement(item.payload, limits: .ownWriting, defaultNamespace: .none), let id = element.attribute("id") else { return nil }
        self.init(id: id, text: element.root.text)
    }

    fileprivate var payload: ByteBuffer {
        var writer = XMLWriter(contentNamespace: .none)
        writer.element("text", Self.namespace, ["id": id], text: text)
        return writer.buffer
    }
}

/// What an account has been told, as it is stored.
struct GreetingRecord: Hashable {
    private static let namespace: Namespace = "urn:x-martlet:greetings"
    private var motd: String?
    private var isWelcome = false
    /// On which day since 1970 it was told last that its password is about to expire.
    var warned: Int64?

    /// What cannot be read is as if nothing had been said.
    init(_ document: ByteBuffer?) {
        guard let document, let element = try? parseElement(document, limits: .ownWriting, defaultNamespace: .none) else { return }
        motd = element.attribute("motd")
        isWelcome = element.attribute("welcome") == "true"
        warned = element.attribute("warned").flatMap { Int64($0) }
    }

    /// - Parameter isNew: whether the account has never been here before.
    /// - Returns: what is told, and what is known afterwards.
    func telling(_ texts: [Greetings.Kind: Greetings.Text], isNew: Bool) -> ([(Greetings.Kind, String)], GreetingRecord) {
        var (told, after): ([(Greetings.Kind, String)], GreetingRecord) = ([], self)
        if let welcome = texts[.welcome], isNew, !isWelcome {
            told.append((.welcome, welcome.text))
            after.isWelcome = true
        }
        if let text = texts[.motd], motd != text.id {
            told.append((.motd, text.text))
            after.motd = text.id
        }
        return (told, after)
    }

    var document: ByteBuffer {
        var writer = XMLWriter(contentNamespace: .none)
        writer.element("greetings", Self.namespace, ["motd": motd, "welcome": isWelcome ? "true" : nil, "warned": warned.map(String.init)])
        return writer.buffer
    }
}

// MARK: Commands

extension ServiceAdministration: GreetingStage {
    package func greeting(for home: AccountHome, _ router: Router, _ context: LoopContext) -> Greeting {
        var greeting = greetings.greeting(for: home, router, context)
        guard let warning = passwordWarning?.greeting(for: home, router, context) else { return greeting }
        greeting.messages += warning.messages
        greeting.writes += warning.writes
        return greeting
    }

    var greetingCommands: [ServerCommand] {
        [
            setCommand("set-motd", "Set the message of the day", .motd), editCommand("edit-motd", "Edit the message of the day", .motd),
            deleteCommand("delete-motd", "Delete the message of the day", .motd), setCommand("set-welcome", "Set the welcome message", .welcome),
            deleteCommand("delete-welcome", "Delete the welcome message", .welcome),
        ]
    }

    /// A message of the day that is set is told to everybody, those included who were told the one before.
    private func setCommand(_ node: String, _ title: String, _ kind: Greetings.Kind) -> ServerCommand {
        command(node, title) { [greetings] call throws(StanzaError) in
            guard let text = try Self.text(kind, call) else {
                // Of a welcome the form has what there is (§4.27); a new day has a new message.
                let known = kind == .welcome ? try await greetings.texts(of: call.host.domain, call.router)[kind] : nil
                return Self.ask(title, [Self.field(kind, known?.text)])
            }
            try await greetings.set(kind, text, call)
            return .done()
        }
    }

    /// Corrects it for those who have not been told yet (§4.25).
    private func editCommand(_ node: String, _ title: String, _ kind: Greetings.Kind) -> ServerCommand {
        command(node, title) { [greetings] call throws(StanzaError) in
            guard let known = try await greetings.texts(of: call.host.domain, call.router)[kind] else { throw .itemNotFound("there is none") }
            guard let text = try Self.text(kind, call) else { return Self.ask(title, [Self.field(kind, known.text)]) }
            try await greetings.set(kind, text, correcting: known.id, call)
            return .done()
        }
    }

    private func deleteCommand(_ node: String, _ title: String, _ kind: Greetings.Kind) -> ServerCommand {
        command(node, title) { [greetings] call throws(StanzaError) in
            guard try await greetings.delete(kind, call) else { throw .itemNotFound("there is none") }
            return .done()
        }
    }

    private static func field(_ kind: Greetings.Kind, _ text: String?) -> DataForm.Field {
        var field = field(kind.rawValue, .textMulti, kind == .motd ? "Message of the day" : "Welcome message")
        field.values = text?.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) ?? []
        return field
    }

    /// What was filled in; `nil` at the beginning.
    private static func text(_ kind: Greetings.Kind, _ call: ServerCommand.Call) throws(StanzaError) -> String? {
        guard var fields = try submission(call) else { return nil }
        let text = try fields.texts(kind.rawValue).joined(separator: "\n")
        guard !text.isEmpty else { throw .badRequest("there is no text; another command deletes it") }
        guard text.utf8.count <= announcementBytesMax else { throw .notAcceptable("it may have \(announcementBytesMax) bytes") }
        return text
    }
}
