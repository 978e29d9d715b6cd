package import MartletCore
package import MartletXMPP

/// The devices of one account that want to be woken, and how far each has been told. Pure.
package struct PushDevices: Hashable, Sendable {
    /// Notifications in a row that a service may not answer, or answer with errors that may pass; then the registration is removed.
    package static let failuresMax = 16

    /// Those that registered last at the end.
    package private(set) var registrations: [PushRegistration]

    package init(_ registrations: [PushRegistration] = []) { self.registrations = registrations }

    // MARK: Registering

    /// Adds a registration, in place of an earlier one of the same service and node (§5).
    ///
    /// - Parameter countMax: past it, the device that registered first gives way: it is the likeliest to be lost, and the new one is in use.
    package mutating func enable(_ registration: PushRegistration, countMax: Int) {
        registrations.removeAll { $0.service == registration.service && $0.node == registration.node }
        registrations.append(registration)
        registrations.removeFirst(max(0, registrations.count - max(1, countMax)))
    }

    /// - Parameter node: `nil` means all of the service (§6).
    /// - Returns: whether there was one.
    package mutating func disable(_ service: JID, node: String?) -> Bool {
        let before = registrations.count
        registrations.removeAll { $0.service == service && (node == nil || $0.node == node) }
        return registrations.count < before
    }

    // MARK: Telling

    /// There are messages, or somebody asks for a subscription.
    ///
    /// - Parameters:
    ///   - id: makes an identifier for a request.
    ///   - isAway: whether a device has no connection; `nil` if the messages are none of its business.
    /// - Returns: what is to be sent now.
    package mutating func tell(_ news: PushSummary, id: () -> String, isAway: (PushRegistration) -> Bool?) -> [PushNotification] {
        var notifications: [PushNotification] = []
        for index in registrations.indices {
            switch isAway(registrations[index]) {
            case nil: continue
            case false?: registrations[index].forgetUntold()
            case true?:
                if let notification = registrations[index].tell(news, id: id) { notifications.append(notification) }
            }
        }
        return notifications
    }

    /// A notification was answered, or will not be.
    ///
    /// - Returns: what is to be sent next, and whether what is stored has changed.
    package mutating func conclude(
        _ id: String, _ outcome: RequestOutcome, nextID: () -> String, isAway: (PushRegistration) -> Bool
    ) -> (next: PushNotification?, isChanged: Bool) {
        guard let index = registrations.firstIndex(where: { $0.progress.isUnderWay(id) }) else { return (nil, false) }
        let hadFailures = registrations[index].failures > 0
        switch outcome {
        case .error(let error) where error.endsRegistration: registrations[index].failures = Self.failuresMax
        case .error, .noAnswer: registrations[index].failures += 1
        case .result: registrations[index].failures = 0
        }
        guard registrations[index].failures < Self.failuresMax else {
            registrations.remove(at: index)
            return (nil, true)
        }
        let next = registrations[index].conclude(isTold: outcome == .result, isAway: isAway(registrations[index]), nextID: nextID)
        return (next, hadFailures || registrations[index].failures > 0)
    }
}

/// A device, as its push service knows it, and which session it belongs to.
package struct PushRegistration: Hashable, Sendable {
    /// Where the node and the publish options end, in bytes of UTF-8.
    package static let nodeBytesMax = 1_024
    package static let optionsBytesMax = 4_096

    package let service: JID
    /// Names the device at its service; may be left out where that needs none.
    package let node: String?
    /// A submission of type `http://jabber.org/protocol/pubsub#publish-options`.
    package let options: DataForm?
    /// Of the session that registered it.
    package let resource: String
    /// Notifications in a row that went wrong.
    package var failures: Int
    /// Only in memory.
    package fileprivate(set) var progress = PushProgress.idle(untold: PushSummary())

    package init(service: JID, node: String?, options: DataForm? = nil, resource: String, failures: Int = 0) {
        self.service = service
        self.node = node
        self.options = options
        self.resource = resource
        self.failures = failures
    }

    /// The device has a connection: it knows without us.
    fileprivate mutating func forgetUntold() {
        switch progress {
        case .idle: progress = .idle(untold: PushSummary())
        case .underWay(let id, let told, _): progress = .underWay(id: id, told: told, since: PushSummary())
        }
    }

    /// - Returns: `nil` while a notification is under way: then the next one tells it.
    fileprivate mutating func tell(_ news: PushSummary, id: () -> String) -> PushNotification? {
        switch progress {
        case .idle(let untold):
            let notification = PushNotification(id: id(), service: service, node: node, options: options, summary: untold + news)
            progress = .underWay(id: notification.id, told: notification.summary, since: PushSummary())
            return notification
        case .underWay(let id, let told, let since):
            progress = .underWay(id: id, told: told, since: since + news)
            return nil
        }
    }

    /// What a notification was to tell that went wrong is told with the next one; it is not repeated by itself.
    fileprivate mutating func conclude(isTold: Bool, isAway: Bool, nextID: () -> String) -> PushNotification? {
        guard case .underWay(_, let told, let since) = progress else { return nil }
        progress = .idle(untold: isTold || !isAway ? PushSummary() : told)
        return isAway && !since.isEmpty ? tell(since, id: nextID) : nil
    }
}

package enum PushProgress: Hashable, Sendable {
    /// `untold`: messages that a notification was to tell which went wrong.
    case idle(untold: PushSummary)
    /// `since`: messages that have come since it was sent.
    case underWay(id: String, told: PushSummary, since: PushSummary)

    func isUnderWay(_ request: String) -> Bool {
        if case .underWay(let id, _, _) = self { id == request } else { false }
    }
}

extension StanzaError {
    /// Whether a service says with it that it will not take notifications for that node any more (§7.1).
    ///
    /// By the condition, because services do not agree about types: the node or the service is not there for good (`item-not-found`,
    /// `gone`), or the account or its publish options are not let in (`forbidden`, `not-authorized`, `not-allowed`,
    /// `registration-required`), or the service takes no such requests (`not-acceptable`, `feature-not-implemented`, `bad-request`,
    /// `jid-malformed`). One that says `wait` is believed. All others, such as `service-unavailable` from a service that is being
    /// restarted or `remote-server-not-found`, may pass.
    var endsRegistration: Bool {
        guard kind != .wait else { return false }
        return switch condition {
        case .itemNotFound, .gone, .forbidden, .notAuthorized, .notAllowed, .registrationRequired, .notAcceptable, .featureNotImplemented,
            .badRequest, .jidMalformed:
            true
        case .conflict, .internalServerError, .policyViolation, .recipientUnavailable, .redirect, .remoteServerNotFound, .remoteServerTimeout,
            .resourceConstraint, .serviceUnavailable, .subscriptionRequired, .undefinedCondition, .unexpectedRequest:
            false
        }
    }
}
