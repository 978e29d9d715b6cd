import MartletCore
import MartletLDAP
package import NIOCore

/// The server's side of one connection where there is no directory behind: binds, searches and comparisons are looked up, all else is refused. Pure.
package struct EmbeddedMachine: FrontEndMachine {
    /// Passwords that one connection may get wrong; at the last one it ends.
    static let failuresMax = 3
    /// Operations at a time: each is looked up among all accounts.
    static let operationsMax = 16

    private enum Binding { case idle, asking(Int32), securing }

    private let settings: FrontEndSettings
    private let tree: EmbeddedTree
    private let offersTLS: Bool
    private var hasTLS: Bool
    private var isProtected: Bool
    private var binding = Binding.idle
    private var isClosed = false
    private var viewer = PresenceViewer.anonymous
    private var failures = 0
    /// Operations that are being looked up, by their numbers.
    private var questions: [Int: Int32] = [:]
    private var questionCount = 0
    private var held: [ByteBuffer] = []
    package private(set) var heldBytes = 0

    package init(_ settings: FrontEndSettings, _ tree: EmbeddedTree, offersTLS: Bool, hasTLS: Bool, isProtected: Bool) {
        self.settings = settings
        self.tree = tree
        self.offersTLS = offersTLS
        self.hasTLS = hasTLS
        self.isProtected = isProtected || hasTLS
    }

    package var isIdle: Bool { questions.isEmpty && held.isEmpty }
    package var isIdentifying: Bool { false }
    package var waitingBytes: Int { 0 }

    package mutating func connected() -> [FrontEndEffect] { [] }
    package mutating func upstreamLost() -> [FrontEndEffect] { [] }
    package mutating func fromUpstream(_ frame: ByteBuffer) -> [FrontEndEffect] { [] }

    // MARK: From the client

    package mutating func fromClient(_ frame: ByteBuffer, isLast: Bool) -> [FrontEndEffect] {
        guard !isClosed else { return [] }
        do throws(LDAPFault) {
            let envelope = try LDAPEnvelope(frame)
            guard envelope.kind.isRequest else { return end(.protocolError, "that is no request") }
            switch (binding, envelope.kind) {
            case (_, .unbindRequest):
                isClosed = true
                return [.close]
            case (_, .abandonRequest):
                guard case .abandonRequest(let id) = try LDAPMessage(envelope).operation else { return [] }
                if case .asking(id) = binding { return [] }
                questions = questions.filter { $0.value != id }
                return []
            case (.idle, _): return begin(try LDAPMessage(envelope), isLast: isLast)
            case (.asking, _), (.securing, _):
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

    private mutating func begin(_ message: LDAPMessage, isLast: Bool) -> [FrontEndEffect] {
        let id = message.id
        guard !questions.values.contains(id) else { return end(.protocolError, "the identifier is in use") }
        func refuse(_ code: LDAPResultCode, _ words: String) -> [FrontEndEffect] {
            LDAPMessage(refusing: message.operation.kind, id, LDAPResult(code, words)).map { [.answer($0)] } ?? []
        }
        guard questions.count < min(settings.operationsMax, Self.operationsMax) else { return refuse(.busy, "too many operations at a time") }
        // What has to be understood and is not (RFC 4511 §4.1.11).
        let known: Set<String> = [LDAPControlType.pagedResults, LDAPControlType.manageDsaIT]
        guard message.controls.allSatisfy({ !$0.isCritical || known.contains($0.type) }) else {
            return refuse(.unavailableCriticalExtension, "a critical control is not known")
        }
        switch message.operation {
        case .bindRequest(let request): return bind(id, request)
        case .searchRequest(let request):
            if request.base.isEmpty, request.scope == .baseObject { return rootDSE(id, request) }
            return [.search(question(by: id), message, viewer)]
        case .compareRequest: return [.search(question(by: id), message, viewer)]
        case .extendedRequest(let request): return extended(id, request, isLast: isLast)
        case .modifyRequest, .addRequest, .delRequest, .modifyDNRequest: return refuse(.unwillingToPerform, "nothing is written here")
        case .unbindRequest, .abandonRequest, .bindResponse, .searchResultEntry, .searchResultReference, .searchResultDone, .modifyResponse, .addResponse,
            .delResponse, .modifyDNResponse, .compareResponse, .extendedResponse, .intermediateResponse:
            return end(.protocolError, "that is no request")
        }
    }

    private mutating func question(by id: Int32) -> Int {
        questionCount += 1
        questions[questionCount] = id
        return questionCount
    }

    private mutating func bind(_ id: Int32, _ request: BindRequest) -> [FrontEndEffect] {
        func answer(_ result: LDAPResult) -> [FrontEndEffect] { [.answer(LDAPMessage(id, .bindResponse(BindResponse(result))))] }
        questions = [:]
        viewer = .anonymous
        if let refusal = BindPolicy.refusal(of: request, isProtected: isProtected || settings.allowsPasswordsInClear) { return [.bound(false)] + answer(refusal) }
        guard case .simple(let password) = request.authentication else {
            return [.bound(false)] + answer(LDAPResult(.authMethodNotSupported, "only simple binds are possible here"))
        }
        guard !password.isEmpty else { return [.bound(false)] + answer(LDAPResult(.success)) }
        binding = .asking(id)
        return [.bound(false), .verify(question(by: id), name: request.name, password: password)]
    }

    private mutating func extended(_ id: Int32, _ request: ExtendedRequest, isLast: Bool) -> [FrontEndEffect] {
        func answer(_ code: LDAPResultCode, _ words: String = "", value: [UInt8]? = nil, named: Bool = false) -> [FrontEndEffect] {
            let response = ExtendedResponse(LDAPResult(code, words), name: named ? request.name : nil, value: value)
            return [.answer(LDAPMessage(id, .extendedResponse(response)))]
        }
        switch request.name {
        case LDAPExtension.whoAmI:
            guard case .account(let account) = viewer else { return answer(.success, value: []) }
            return answer(.success, value: AuthorizationIdentity.name(tree.name(of: account).description).encoded)
        case LDAPExtension.startTLS:
            guard isLast else { return end(.protocolError, "nothing may be said between StartTLS and TLS") }
            guard offersTLS else { return answer(.unavailable, "there is no certificate", named: true) }
            guard !hasTLS, questions.isEmpty else { return answer(.operationsError, named: true) }
            binding = .securing
            return answer(.success, named: true) + [.beginTLS]
        default: return answer(.protocolError, "that is not known")
        }
    }

    private func rootDSE(_ id: Int32, _ request: SearchRequest) -> [FrontEndEffect] {
        let candidate = EmbeddedDirectory.Candidate(entry: tree.rootDSE(offersTLS: offersTLS && !hasTLS))
        let done = LDAPMessage(id, .searchResultDone(LDAPResult(.success)))
        guard request.filter.truth(of: candidate.entry) == .holds else { return [.answer(done)] }
        let entry = candidate.selected(AttributeSelection(request.attributes), typesOnly: request.typesOnly)
        return [.answer(LDAPMessage(id, .searchResultEntry(entry))), .answer(done)]
    }

    package mutating func secured() -> [FrontEndEffect] {
        hasTLS = true
        isProtected = true
        return release()
    }

    private mutating func release() -> [FrontEndEffect] {
        binding = .idle
        let frames = held
        held = []
        heldBytes = 0
        var effects: [FrontEndEffect] = []
        // What comes behind another bind is held again.
        for (index, frame) in frames.enumerated() { effects += fromClient(frame, isLast: index == frames.count - 1) }
        return effects
    }

    // MARK: Answers

    package mutating func answered(_ answer: FrontEndAnswer, for question: Int) -> [FrontEndEffect] {
        guard !isClosed, let id = questions.removeValue(forKey: question) else { return [] }
        switch answer {
        case .messages(let messages): return messages.map(FrontEndEffect.answer)
        case .bound(let result, let viewer):
            self.viewer = viewer
            let response = FrontEndEffect.answer(LDAPMessage(id, .bindResponse(BindResponse(result))))
            if result.code == .invalidCredentials { failures += 1 }
            guard failures < Self.failuresMax else {
                isClosed = true
                return [response, .close]
            }
            return [.bound(viewer != .anonymous), response] + release()
        case .visible, .presences: return []
        }
    }
}
