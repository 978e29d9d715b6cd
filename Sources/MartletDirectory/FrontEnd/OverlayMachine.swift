import MartletCore
import MartletLDAP
import MartletXMPP
package import NIOCore

/// What stands between one client and the directory behind, and adds presence to entries (`directory.md` §4.2). Pure.
///
/// Messages pass octet for octet, but for these: a bind that succeeds is held until the directory has said who that is (RFC 4532); searches whose filters ask for
/// presence are rewritten, and entries get their presence; presence is compared here, and cannot be written; the root DSE and the subschema are those of this
/// server; and StartTLS ends here. What a client says while it binds waits for that (RFC 4511 §4.2.1).
package struct OverlayMachine: FrontEndMachine {
    /// The directory is asked with it who has bound: no client may use it.
    package static let reservedID: Int32 = 0x7FFF_FFFE
    /// Entries whose presence is looked up together.
    static let batchMax = 100
    /// Passwords that one connection may get wrong; at the last one it ends.
    static let failuresMax = 3

    private enum Link { case none, connecting([ByteBuffer]), open }

    private enum Binding {
        case idle
        case asking(Int32)
        /// The directory has said yes, which the client hears when it is known who it is.
        case identifying(ByteBuffer)
        case securing
    }

    private struct Search {
        let viewer: PresenceViewer
        let wanted: PresenceWanted?
        let isRootDSE: Bool
        let isSubschema: Bool
        /// Their presence is being looked up.
        var isAsking = false

        var looksInside: Bool { wanted != nil || isRootDSE || isSubschema }
    }

    private enum Item {
        case ready(ByteBuffer, isLast: Bool)
        case entry(LDAPMessage, BareJID, byteCount: Int)

        var byteCount: Int {
            switch self {
            case .ready(let bytes, _): bytes.readableBytes
            case .entry(_, _, let byteCount): byteCount
            }
        }
    }

    private enum Operation {
        case forwarded(LDAPOperation.Kind)
        case searching(Search)
        /// The filter is being rewritten.
        case rewriting(LDAPMessage, PresenceFilter, Search)
        case comparing(CompareRequest)

        var kind: LDAPOperation.Kind {
            switch self {
            case .forwarded(let kind): kind
            case .searching, .rewriting: .searchRequest
            case .comparing: .compareRequest
            }
        }
    }

    private let settings: FrontEndSettings
    private let names: FrontEndNames
    private let offersTLS: Bool
    private var link = Link.none
    private var binding = Binding.idle
    private var isClosed = false
    private var hasTLS: Bool
    private var isProtected: Bool
    private var viewer = PresenceViewer.anonymous
    /// By what the client binds, or has last done so.
    private var bindRequest: (name: String, mechanism: String) = ("", "")
    private var failures = 0
    private var operations: [Int32: Operation] = [:]
    /// What searches have been answered with and the client has not been given yet, in order.
    private var waiting: [Int32: [Item]] = [:]
    /// Which operation waits for an answer of this server's.
    private var questions: [Int: Int32] = [:]
    private var questionCount = 0
    /// What the client said while it binds.
    private var held: [ByteBuffer] = []
    /// Bytes of entries that wait for their presence.
    package private(set) var waitingBytes = 0
    /// Bytes of what the client said that waits for something.
    package private(set) var heldBytes = 0

    /// - Parameters:
    ///   - offersTLS: whether there is a certificate for StartTLS.
    ///   - hasTLS: from the first byte.
    ///   - isProtected: whether passwords may be said.
    package init(_ settings: FrontEndSettings, _ names: FrontEndNames, offersTLS: Bool, hasTLS: Bool, isProtected: Bool) {
        self.settings = settings
        self.names = names
        self.offersTLS = offersTLS
        self.hasTLS = hasTLS
        self.isProtected = isProtected || hasTLS
    }

    /// Whether nothing is under way.
    package var isIdle: Bool {
        switch binding {
        case .idle: operations.isEmpty && held.isEmpty
        case .asking, .identifying: false
        // It is the client that has to go on.
        case .securing: true
        }
    }
    /// Whether it is waited for that the directory lets somebody in, or says who that is.
    package var isIdentifying: Bool {
        switch binding {
        case .asking, .identifying: true
        default: false
        }
    }
}

// MARK: From the client

extension OverlayMachine {
    /// - Parameters:
    ///   - frame: one message, as ``LDAPFraming`` gives it.
    ///   - isLast: whether nothing has come behind it.
    package mutating func fromClient(_ frame: ByteBuffer, isLast: Bool) -> [FrontEndEffect] {
        guard !isClosed else { return [] }
        do throws(LDAPFault) {
            let envelope = try LDAPEnvelope(frame)
            guard envelope.kind.isRequest, envelope.id != Self.reservedID else { return end(.protocolError, "that is no request") }
            switch (binding, envelope.kind) {
            case (_, .unbindRequest): return leave(frame)
            case (_, .abandonRequest): return try abandon(envelope, frame)
            case (.idle, _): return try begin(envelope, frame, isLast: isLast)
            case (.asking, _), (.identifying, _), (.securing, _):
                held.append(frame)
                heldBytes += frame.readableBytes
                return []
            }
        } catch {
            return end(.protocolError, "a message that cannot be read")
        }
    }

    private mutating func end(_ code: LDAPResultCode, _ words: String) -> [FrontEndEffect] {
        isClosed = true
        return FrontEndEffect.disconnection(code, words)
    }

    private mutating func leave(_ frame: ByteBuffer) -> [FrontEndEffect] {
        isClosed = true
        if case .open = link { return [.toUpstream(frame), .close] }
        return [.close]
    }

    private mutating func abandon(_ envelope: LDAPEnvelope, _ frame: ByteBuffer) throws(LDAPFault) -> [FrontEndEffect] {
        guard case .abandonRequest(let id) = try LDAPMessage(envelope).operation, let operation = operations[id] else { return [] }
        switch operation {
        // A bind is not abandoned (RFC 4511 §4.11).
        case .forwarded(.bindRequest): return []
        case .forwarded, .searching:
            forget(id)
            return send(frame)
        case .rewriting, .comparing:
            forget(id)
            return []
        }
    }

    private mutating func forget(_ id: Int32) {
        operations[id] = nil
        waitingBytes -= waiting.removeValue(forKey: id)?.reduce(0) { $0 + $1.byteCount } ?? 0
        questions = questions.filter { $0.value != id }
    }

    private mutating func begin(_ envelope: LDAPEnvelope, _ frame: ByteBuffer, isLast: Bool) throws(LDAPFault) -> [FrontEndEffect] {
        let id = envelope.id
        guard operations[id] == nil else { return end(.protocolError, "the identifier is in use") }
        guard operations.count < settings.operationsMax else { return refuse(envelope, .busy, "too many operations at a time") }
        switch envelope.kind {
        case .bindRequest: return try bind(LDAPMessage(envelope), frame)
        case .searchRequest: return try search(LDAPMessage(envelope), frame)
        case .compareRequest: return try compare(LDAPMessage(envelope), frame)
        case .modifyRequest, .addRequest:
            guard try !Self.writesPresence(LDAPMessage(envelope).operation) else { return refuse(envelope, .unwillingToPerform, "presence is not written") }
            return forward(id, envelope.kind, frame)
        case .extendedRequest:
            guard case .extendedRequest(let request) = try LDAPMessage(envelope).operation, request.name == LDAPExtension.startTLS else {
                return forward(id, envelope.kind, frame)
            }
            return startTLS(id, isLast: isLast)
        case .delRequest, .modifyDNRequest: return forward(id, envelope.kind, frame)
        case .unbindRequest, .abandonRequest, .bindResponse, .searchResultEntry, .searchResultReference, .searchResultDone, .modifyResponse, .addResponse,
            .delResponse, .modifyDNResponse, .compareResponse, .extendedResponse, .intermediateResponse:
            preconditionFailure("\(envelope.kind) begins nothing")
        }
    }

    private func refuse(_ envelope: LDAPEnvelope, _ code: LDAPResultCode, _ words: String) -> [FrontEndEffect] {
        LDAPMessage(refusing: envelope.kind, envelope.id, LDAPResult(code, words)).map { [.answer($0)] } ?? []
    }

    private mutating func forward(_ id: Int32, _ kind: LDAPOperation.Kind, _ frame: ByteBuffer) -> [FrontEndEffect] {
        operations[id] = .forwarded(kind)
        return send(frame)
    }

    private mutating func send(_ frame: ByteBuffer) -> [FrontEndEffect] {
        switch link {
        case .open: return [.toUpstream(frame)]
        case .connecting(let frames):
            heldBytes += frame.readableBytes
            link = .connecting(frames + [frame])
            return []
        case .none:
            heldBytes += frame.readableBytes
            link = .connecting([frame])
            return [.connect]
        }
    }

    private static func writesPresence(_ operation: LDAPOperation) -> Bool {
        switch operation {
        case .modifyRequest(let request): request.changes.contains { PresenceAttributes.isPresence($0.attribute.description) }
        case .addRequest(let entry): entry.attributes.contains { PresenceAttributes.isPresence($0.description) }
        default: false
        }
    }

    // MARK: Who it is

    private mutating func bind(_ message: LDAPMessage, _ frame: ByteBuffer) -> [FrontEndEffect] {
        guard case .bindRequest(let request) = message.operation else { return [] }
        if let refusal = BindPolicy.refusal(of: request, isProtected: isProtected || settings.allowsPasswordsInClear) {
            return [.answer(LDAPMessage(message.id, .bindResponse(BindResponse(refusal))))]
        }
        // Nobody answers what is under way any more, and until the bind has succeeded the client is nobody (RFC 4511 §4.2.1).
        for id in operations.keys { forget(id) }
        viewer = .anonymous
        bindRequest = (request.name, request.authentication.mechanism)
        binding = .asking(message.id)
        return [.bound(false)] + forward(message.id, .bindRequest, frame)
    }

    private mutating func startTLS(_ id: Int32, isLast: Bool) -> [FrontEndEffect] {
        func answer(_ code: LDAPResultCode, _ words: String) -> [FrontEndEffect] {
            [.answer(LDAPMessage(id, .extendedResponse(ExtendedResponse(LDAPResult(code, words), name: LDAPExtension.startTLS))))]
        }
        // What was sent behind the request in the clear may be somebody else's.
        guard isLast else { return end(.protocolError, "nothing may be said between StartTLS and TLS") }
        guard offersTLS else { return answer(.unavailable, "there is no certificate") }
        guard !hasTLS, operations.isEmpty else { return answer(.operationsError, hasTLS ? "there is TLS already" : "other operations are under way") }
        binding = .securing
        return answer(.success, "") + [.beginTLS]
    }

    /// The handshake is over.
    package mutating func secured() -> [FrontEndEffect] {
        hasTLS = true
        isProtected = true
        return release()
    }

    /// Goes on with what the client said meanwhile.
    private mutating func release() -> [FrontEndEffect] {
        binding = .idle
        var frames = held[...]
        held = []
        var effects: [FrontEndEffect] = []
        while let frame = frames.popFirst() {
            heldBytes -= frame.readableBytes
            guard case .idle = binding else {
                held.append(frame)
                heldBytes += frame.readableBytes
                continue
            }
            effects += fromClient(frame, isLast: frames.isEmpty)
        }
        return effects
    }

    // MARK: Searches

    private mutating func search(_ message: LDAPMessage, _ frame: ByteBuffer) -> [FrontEndEffect] {
        guard case .searchRequest(let request) = message.operation else { return [] }
        let isRootDSE = request.base.isEmpty && request.scope == .baseObject
        let search = Search(
            viewer: viewer, wanted: isRootDSE ? nil : PresenceWanted(request, settings), isRootDSE: isRootDSE,
            isSubschema: request.scope == .baseObject && !isRootDSE && AttributeSelection(request.attributes).includesOperational("attributeTypes"))
        guard let filter = PresenceFilter(request.filter) else {
            operations[message.id] = .searching(search)
            return send(upstream(message, request, search.wanted)?.bytes ?? frame)
        }
        guard filter.partCount <= PresenceFilter.partsMax else {
            let result = LDAPResult(.adminLimitExceeded, "presence is asked for in more than \(PresenceFilter.partsMax) parts of the filter")
            return [.answer(LDAPMessage(message.id, .searchResultDone(result)))]
        }
        operations[message.id] = .rewriting(message, filter, search)
        guard viewer != .anonymous else { return rewrite(message.id, []) }
        return [.findVisible(question(by: message.id), viewer, online: filter.isAboutThoseOnline)]
    }

    private mutating func question(by id: Int32) -> Int {
        questionCount += 1
        questions[questionCount] = id
        return questionCount
    }

    /// What the directory is asked; `nil` if that is what the client has said.
    private func upstream(_ message: LDAPMessage, _ request: SearchRequest, _ wanted: PresenceWanted?) -> LDAPMessage? {
        guard let wanted, wanted.stripped != nil || wanted.typesOnly else { return nil }
        var message = message
        message.operation = .searchRequest(asking(request, wanted))
        return message
    }

    private func asking(_ request: SearchRequest, _ wanted: PresenceWanted?) -> SearchRequest {
        guard let wanted else { return request }
        var request = request
        if let address = wanted.stripped { request.attributes.append(address) }
        request.typesOnly = false
        return request
    }

    /// Answers ``FrontEndEffect/findVisible(_:_:online:)``.
    private mutating func found(
        _ result: Result<[(address: BareJID, presence: PresenceSummary)], PresenceView.Failure>, for question: Int
    ) -> [FrontEndEffect] {
        guard !isClosed, let id = questions.removeValue(forKey: question) else { return [] }
        switch result {
        case .success(let visible): return rewrite(id, visible)
        case .failure(.tooMany): return fail(id, .adminLimitExceeded, "the presence of too many would have to be looked at")
        case .failure(.unavailable): return fail(id, .unavailable, "presence cannot be looked up")
        }
    }

    private mutating func rewrite(_ id: Int32, _ visible: [(address: BareJID, presence: PresenceSummary)]) -> [FrontEndEffect] {
        guard case .rewriting(var message, let filter, let search) = operations[id], case .searchRequest(var request) = message.operation else { return [] }
        do throws(PresenceFilter.Failure) {
            request.filter = try filter.rewritten(visible, settings)
        } catch {
            return fail(id, .adminLimitExceeded, "the presence asked for is that of more than \(PresenceFilter.accountsMax)")
        }
        message.operation = .searchRequest(asking(request, search.wanted))
        operations[id] = .searching(search)
        return send(message.bytes)
    }

    private mutating func fail(_ id: Int32, _ code: LDAPResultCode, _ words: String) -> [FrontEndEffect] {
        guard let kind = operations[id]?.kind else { return [] }
        forget(id)
        return LDAPMessage(refusing: kind, id, LDAPResult(code, words)).map { [.answer($0)] } ?? []
    }

    // MARK: Comparing

    private mutating func compare(_ message: LDAPMessage, _ frame: ByteBuffer) -> [FrontEndEffect] {
        guard case .compareRequest(let request) = message.operation, PresenceAttributes.isPresence(request.attribute) else {
            return forward(message.id, .compareRequest, frame)
        }
        operations[message.id] = .comparing(request)
        guard viewer != .anonymous, let address = names.address(request.name) else { return compared(message.id, nil) }
        return [.lookUp(question(by: message.id), [address], viewer)]
    }

    private mutating func compared(_ id: Int32, _ presence: PresenceSummary?) -> [FrontEndEffect] {
        guard case .comparing(let request) = operations.removeValue(forKey: id) else { return [] }
        let entry = LDAPEntry(request.name, presence.map(PresenceAttributes.attributes) ?? [])
        let result: LDAPResult
        if LDAPFilter.present(request.attribute).truth(of: entry) == .holds {
            switch LDAPFilter.equality(request.attribute, request.value).truth(of: entry) {
            case .holds: result = LDAPResult(.compareTrue)
            case .fails: result = LDAPResult(.compareFalse)
            case .undefined: result = LDAPResult(.invalidAttributeSyntax)
            }
        } else {
            result = LDAPResult(.noSuchAttribute)
        }
        return [.answer(LDAPMessage(id, .compareResponse(result)))]
    }
}

// MARK: Answers of this server's own

extension OverlayMachine {
    package mutating func answered(_ answer: FrontEndAnswer, for question: Int) -> [FrontEndEffect] {
        switch answer {
        case .visible(let result): found(result, for: question)
        case .presences(let addresses, let presences): self.presences(addresses, presences, for: question)
        case .bound, .messages: []
        }
    }
}

// MARK: The directory behind

extension OverlayMachine {
    package mutating func connected() -> [FrontEndEffect] {
        guard !isClosed, case .connecting(let frames) = link else { return [] }
        link = .open
        heldBytes -= frames.reduce(0) { $0 + $1.readableBytes }
        return frames.map(FrontEndEffect.toUpstream)
    }

    /// There is no connection, or none any more: whatever waits for the directory is answered. Who had bound there is nobody now, and is told so by the end.
    package mutating func upstreamLost() -> [FrontEndEffect] {
        guard !isClosed else { return [] }
        let wasOpen = if case .open = link { true } else { false }
        if case .connecting(let frames) = link { heldBytes -= frames.reduce(0) { $0 + $1.readableBytes } }
        link = .none
        var effects: [FrontEndEffect] = []
        if case .identifying = binding, case .some(let id) = bindID { effects += unavailable(id, .bindRequest) }
        for (id, operation) in operations.sorted(by: { $0.key < $1.key }) {
            if case .comparing = operation { continue }
            if case .rewriting = operation, !wasOpen { continue }
            forget(id)
            effects += unavailable(id, operation.kind)
        }
        if wasOpen { return effects + end(.unavailable, "the directory is not there any more") }
        if case .securing = binding { return effects }
        return effects + release()
    }

    /// Whose bind was answered and is not told yet.
    private var bindID: Int32? {
        guard case .identifying(let frame) = binding else { return nil }
        return (try? LDAPEnvelope(frame))?.id
    }

    private func unavailable(_ id: Int32, _ kind: LDAPOperation.Kind) -> [FrontEndEffect] {
        LDAPMessage(refusing: kind, id, LDAPResult(.unavailable, "the directory cannot be reached")).map { [.answer($0)] } ?? []
    }

    package mutating func fromUpstream(_ frame: ByteBuffer) -> [FrontEndEffect] {
        guard !isClosed, case .open = link else { return [] }
        do throws(LDAPFault) {
            let envelope = try LDAPEnvelope(frame)
            if envelope.id == 0 { return try unsolicited(envelope, frame) }
            if envelope.id == Self.reservedID { return try identified(LDAPMessage(envelope)) }
            return try answered(envelope, frame)
        } catch {
            return upstreamLost()
        }
    }

    private mutating func unsolicited(_ envelope: LDAPEnvelope, _ frame: ByteBuffer) throws(LDAPFault) -> [FrontEndEffect] {
        guard case .disconnection = UnsolicitedNotification(try LDAPMessage(envelope)) else { return [.toClient(frame)] }
        isClosed = true
        return [.toClient(frame), .close]
    }

    private mutating func answered(_ envelope: LDAPEnvelope, _ frame: ByteBuffer) throws(LDAPFault) -> [FrontEndEffect] {
        // Answers to what was abandoned, or left behind by a bind, are for nobody.
        guard let operation = operations[envelope.id] else { return [] }
        let isLast = envelope.kind != .searchResultEntry && envelope.kind != .searchResultReference && envelope.kind != .intermediateResponse
        switch operation {
        case .forwarded(.bindRequest): return try bindAnswered(LDAPMessage(envelope), frame)
        case .forwarded:
            if isLast { operations[envelope.id] = nil }
            return [.toClient(frame)]
        case .searching(let search):
            guard search.looksInside else {
                if isLast { operations[envelope.id] = nil }
                return [.toClient(frame)]
            }
            let item = envelope.kind == .searchResultEntry ? try inside(LDAPMessage(envelope), search, frame) : .ready(frame, isLast: isLast)
            return queue(item, envelope.id)
        case .rewriting, .comparing: return []
        }
    }

    private mutating func bindAnswered(_ message: LDAPMessage, _ frame: ByteBuffer) -> [FrontEndEffect] {
        guard case .bindResponse(let response) = message.operation else { return [] }
        operations[message.id] = nil
        guard response.result.code == .success else { return bindFailed(response.result.code, frame) }
        binding = .identifying(frame)
        return [.ask(LDAPMessage(Self.reservedID, .extendedRequest(.whoAmI)))]
    }

    private mutating func bindFailed(_ code: LDAPResultCode, _ frame: ByteBuffer) -> [FrontEndEffect] {
        // It goes on.
        if code == .saslBindInProgress { return [.toClient(frame)] + release() }
        let heard = FrontEndEffect.heard(.refused(name: bindRequest.name, mechanism: bindRequest.mechanism, code))
        if code == .invalidCredentials { failures += 1 }
        guard failures < Self.failuresMax else {
            isClosed = true
            return [heard, .toClient(frame), .close]
        }
        return [heard, .toClient(frame)] + release()
    }

    /// A directory that does not say who somebody is has him be nobody here.
    private mutating func identified(_ message: LDAPMessage) -> [FrontEndEffect] {
        guard case .identifying(let frame) = binding, case .extendedResponse(let response) = message.operation else { return [] }
        var identity = AuthorizationIdentity.anonymous
        if response.result.code == .success, let known = try? AuthorizationIdentity(whoAmI: response) { identity = known }
        viewer = names.viewer(identity)
        return [.heard(.bound(viewer, mechanism: bindRequest.mechanism)), .bound(identity != .anonymous), .toClient(frame)] + release()
    }

    // MARK: Entries

    private func inside(_ message: LDAPMessage, _ search: Search, _ frame: ByteBuffer) -> Item {
        guard case .searchResultEntry(let entry) = message.operation else { return .ready(frame, isLast: false) }
        var message = message
        if search.isRootDSE {
            message.operation = .searchResultEntry(OwnRootDSE.adapted(entry, offersTLS: offersTLS && !hasTLS))
            return .ready(message.bytes, isLast: false)
        }
        var changed = entry
        if search.isSubschema { changed = OwnSubschema.extended(entry) }
        guard let wanted = search.wanted else {
            message.operation = .searchResultEntry(changed)
            return .ready(message.bytes, isLast: false)
        }
        message.operation = .searchResultEntry(changed)
        guard search.viewer != .anonymous || wanted.decorations.contains(where: { $0.source == .xmppURI }), let address = address(of: entry) else {
            message.operation = .searchResultEntry(wanted.decorate(changed, of: nil, nil))
            return .ready(message.bytes, isLast: false)
        }
        return .entry(message, address, byteCount: frame.readableBytes)
    }

    /// Who follows the directory knows best whose an entry is.
    private func address(of entry: LDAPEntry) -> BareJID? {
        names.address(entry.name) ?? settings.address(of: entry)
    }

    private mutating func queue(_ item: Item, _ id: Int32) -> [FrontEndEffect] {
        waiting[id, default: []].append(item)
        waitingBytes += item.byteCount
        return advance(id)
    }

    /// Gives what is ready, in order, and looks up what comes next.
    private mutating func advance(_ id: Int32) -> [FrontEndEffect] {
        guard case .searching(var search) = operations[id], var items = waiting.removeValue(forKey: id) else { return [] }
        var effects: [FrontEndEffect] = []
        var count = 0
        for item in items {
            guard case .ready(let bytes, let isLast) = item else { break }
            effects.append(.toClient(bytes))
            waitingBytes -= bytes.readableBytes
            count += 1
            if isLast { operations[id] = nil }
        }
        items.removeFirst(count)
        guard !items.isEmpty else { return effects }
        if !search.isAsking {
            search.isAsking = true
            operations[id] = .searching(search)
            let addresses = items.prefix(Self.batchMax).compactMap { if case .entry(_, let address, _) = $0 { address } else { nil } }
            effects.append(.lookUp(question(by: id), addresses, search.viewer))
        }
        waiting[id] = items
        return effects
    }

    /// Answers ``FrontEndEffect/lookUp(_:_:_:)``, in the same order.
    private mutating func presences(_ addresses: [BareJID], _ presences: [PresenceSummary?], for question: Int) -> [FrontEndEffect] {
        guard !isClosed, let id = questions.removeValue(forKey: question) else { return [] }
        switch operations[id] {
        case .comparing: return compared(id, presences.first ?? nil)
        case .searching(var search):
            guard let wanted = search.wanted, var items = waiting.removeValue(forKey: id) else { return [] }
            let known = Dictionary(zip(addresses, presences), uniquingKeysWith: { first, _ in first })
            for index in items.indices {
                guard case .entry(var message, let address, let byteCount) = items[index], let presence = known[address],
                    case .searchResultEntry(let entry) = message.operation
                else { continue }
                message.operation = .searchResultEntry(wanted.decorate(entry, of: address, presence))
                let bytes = message.bytes
                items[index] = .ready(bytes, isLast: false)
                waitingBytes += bytes.readableBytes - byteCount
            }
            waiting[id] = items
            search.isAsking = false
            operations[id] = .searching(search)
            return advance(id)
        case .forwarded, .rewriting, nil: return []
        }
    }
}

/// What this server says of itself in place of the directory behind (RFC 4512 §5.1).
enum OwnRootDSE {
    static func adapted(_ entry: LDAPEntry, offersTLS: Bool) -> LDAPEntry {
        var entry = entry
        for index in entry.attributes.indices {
            switch entry.attributes[index].description.lowercased() {
            case "supportedsaslmechanisms":
                entry.attributes[index].values.removeAll { !BindPolicy.mechanisms.contains(String(decoding: $0, as: UTF8.self).uppercased()) }
            case "supportedextension":
                let startTLS = Array(LDAPExtension.startTLS.utf8)
                entry.attributes[index].values.removeAll { $0 == startTLS }
                if offersTLS { entry.attributes[index].values.append(startTLS) }
            default: continue
            }
        }
        entry.attributes.removeAll { $0.values.isEmpty && $0.description.lowercased() == "supportedsaslmechanisms" }
        return entry
    }
}

/// The definitions of presence, for clients that look at the schema (RFC 4512 §4.2).
enum OwnSubschema {
    static let attributeTypes = MartletSchema.attributeTypes.filter { PresenceAttributes.types.contains($0.canonicalName) }
    static let objectClasses = MartletSchema.objectClasses.filter { $0.name == PresenceAttributes.objectClass }

    /// A directory that knows the attributes keeps its own definitions.
    static func extended(_ entry: LDAPEntry) -> LDAPEntry {
        var entry = entry
        for index in entry.attributes.indices where !entry.attributes[index].values.isEmpty {
            let missing: [String]
            switch entry.attributes[index].description.lowercased() {
            case "attributetypes": missing = definitions(attributeTypes, SchemaText.definition, missingIn: entry.attributes[index], named: "xmppShow")
            case "objectclasses": missing = definitions(objectClasses, SchemaText.definition, missingIn: entry.attributes[index], named: "xmppPresentity")
            default: continue
            }
            entry.attributes[index].values += missing.map { Array($0.utf8) }
        }
        return entry
    }

    private static func definitions<Row>(
        _ rows: [Row], _ definition: (Row) -> String, missingIn attribute: LDAPAttribute, named name: String
    ) -> [String] {
        let isThere = attribute.values.contains { String(decoding: $0, as: UTF8.self).contains("'\(name)'") }
        return isThere ? [] : rows.map(definition)
    }
}
