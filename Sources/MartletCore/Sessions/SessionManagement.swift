package import MartletXMPP
import NIOCore

/// What a session keeps because its client enabled stream management (XEP-0198).
struct SessionManagement: Sendable {
    var unacknowledged = UnacknowledgedStanzas()
    /// The stanzas before this one were sent before it was enabled and do not count.
    let base: UInt32
    /// By what the session can be resumed, and for how long after its connection is lost.
    let resumption: StreamManagementAnswer.Resumption?
    /// By what the log knows the stream (``StreamPosition``).
    let stream: UInt64
    /// What had been sent when the client was last asked, if it has not answered.
    var askedAt: UInt32?
    /// Up to where the client has asked for an acknowledgement that could not be given yet.
    var owed: UInt32?
    /// The client has had no answer at all to its last request.
    var isAnswerDue = false

    init(base: UInt32, resumption: StreamManagementAnswer.Resumption?) {
        self.base = base
        self.resumption = resumption
        stream = resumption.map { StreamPosition.stream(named: $0.id) } ?? 0
    }

    init(_ saved: SavedSession) {
        self.init(base: 0, resumption: .init(id: saved.resumptionID, seconds: saved.seconds))
        unacknowledged = UnacknowledgedStanzas(acknowledged: saved.acknowledged)
        for item in saved.unacknowledged { unacknowledged.append(item.stanza, at: item.time, view: item.view, isStored: item.isStored) }
    }

    /// The connection on which somebody asked is gone.
    mutating func forgetRequests() {
        askedAt = nil
        owed = nil
        isAnswerDue = false
    }

    /// The client's count of what is handled (§4): a stanza from before the start does not count.
    func handled(_ sequence: UInt32) -> UInt32 {
        let count = sequence &- base
        return Int32(bitPattern: count) < 0 ? 0 : count
    }
}

extension ClientSession {
    /// Takes what the client says about the stream.
    ///
    /// - Throws: what ends the stream.
    package func manage(_ request: StreamManagementRequest) throws(StreamError) {
        guard !isEnded else { return }
        switch request {
        case .enable(let resumes, let secondsMax): say(beginManagement(resumes: resumes, secondsMax: secondsMax))
        case .request: acknowledge()
        case .acknowledge(let handled): try acknowledged(handled)
        case .resume: say(.failed(.unexpectedRequest, handled: nil))
        }
    }

    /// Counts stanzas from here on. - Returns: what the client is to be told.
    package func beginManagement(resumes: Bool, secondsMax: UInt32?) -> StreamManagementAnswer {
        guard management == nil else { return .failed(.unexpectedRequest, handled: nil) }
        let resumption = resumes ? makeResumption(secondsMax) : nil
        management = SessionManagement(base: nextSequence, resumption: resumption)
        home.shard.withLock {
            if let index = home.index(of: ref) { home.sessions[index].flags.insert(.managed) }
        }
        return .enabled(resumption: resumption)
    }

    /// `nil` where the operator wants none.
    private func makeResumption(_ secondsMax: UInt32?) -> StreamManagementAnswer.Resumption? {
        let offered = router.settings.resumptionSeconds
        let seconds = min(offered, secondsMax.map { Int(clamping: $0) } ?? offered)
        guard seconds > 0 else { return nil }
        let id = context.random.token()
        home.shard.withLock {
            guard let index = home.index(of: ref) else { return }
            home.sessions[index].resumptionID = id
        }
        return .init(id: id, seconds: seconds)
    }

    // MARK: Acknowledging

    /// Answers `<r/>`. What is done but for the disk is waited for, a few milliseconds; what somebody else holds is not.
    private func acknowledge() {
        guard management != nil else { return say(.failed(.unexpectedRequest, handled: nil)) }
        management?.owed = nextSequence
        management?.isAnswerDue = true
        settleLedger()
    }

    /// Gives the acknowledgement that the client asked for, as far as it can be given now.
    ///
    /// - Parameter waitsForDisk: more of it follows by itself as soon as the disk has come so far.
    func tellHandled(_ handled: UInt32, waitsForDisk: Bool) {
        guard let owed = management?.owed else { return }
        let isComplete = handled == owed || Int32(bitPattern: handled &- owed) > 0
        guard isComplete || (management?.isAnswerDue == true && !waitsForDisk) else { return }
        management?.isAnswerDue = false
        if isComplete { management?.owed = nil }
        say(.acknowledge(management?.handled(handled) ?? 0))
    }

    /// The stream ends: an acknowledgement that was asked for and waits for the disk says how far that has come.
    func acknowledgeFinally() {
        guard management?.isAnswerDue == true else { return }
        tellHandled(ledger.advance(settled: context.settled), waitsForDisk: false)
    }

    private func acknowledged(_ handled: UInt32) throws(StreamError) {
        guard management != nil else { return say(.failed(.unexpectedRequest, handled: nil)) }
        try takeAcknowledgement(handled)
        guard let askedAt = management?.askedAt else { return }
        management?.askedAt = nil
        // Something was sent since the client was asked: it is asked again.
        if management?.unacknowledged.isEmpty == false, management?.unacknowledged.sent != askedAt { markDirty() }
    }

    func takeAcknowledgement(_ handled: UInt32) throws(StreamError) {
        // In place, here and below: a copy of what is kept would be a copy of all of it.
        guard let views = try management?.unacknowledged.acknowledge(handled) else { return }
        if !views.isEmpty { router.delivered(views, to: self) }
    }

    /// Asks the client what it has handled, once per burst.
    func askForAcknowledgement() {
        guard management != nil, management?.askedAt == nil, management?.unacknowledged.isEmpty == false else { return }
        management?.askedAt = management?.unacknowledged.sent
        say(.request)
    }

    /// Where the stream stands with the stanza that is being routed, if everything before it is dealt with, for the log.
    func position(with sequence: UInt32, of account: AccountID) -> StreamPosition? {
        guard let stream = management?.stream, management?.resumption != nil, ledger.pendingCount == 0 else { return nil }
        return StreamPosition(account: account, stream: stream, handled: management?.handled(sequence &+ 1) ?? 0)
    }

    // MARK: Keeping

    /// Keeps a stanza until the client has acknowledged it.
    ///
    /// - Returns: whether there was room.
    func keep(_ stanza: EncodedStanza, view: UInt64, isStored: Bool) -> Bool {
        management?.unacknowledged.append(stanza, at: context.wallMilliseconds, view: view, isStored: isStored)
        return (management?.unacknowledged.unstoredCount ?? 0) <= router.settings.unacknowledgedStanzasMax
            && (management?.unacknowledged.unstoredBytes ?? 0) <= router.settings.unacknowledgedBytesMax
    }
}
