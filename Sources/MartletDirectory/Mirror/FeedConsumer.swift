package import NIOCore

/// A message of whatever search follows a directory.
package enum FeedMessage: Hashable, Sendable {
    case sync(SyncMessage)
    case persistent(PersistentSearchMessage)
    case polled(PolledMessage)
}

/// Follows a directory in the way that it offers.
package enum FeedConsumer: Sendable {
    case contentSync(SyncConsumer)
    case persistentSearch(PersistentSearchConsumer)
    case polling(PollingConsumer)

    /// - Parameter cookie: up to where everything is mirrored.
    package init(_ detection: ChangeDetection, cookie: [UInt8]? = nil) {
        switch detection {
        case .contentSync: self = .contentSync(SyncConsumer(cookie: cookie))
        case .persistentSearch: self = .persistentSearch(PersistentSearchConsumer())
        case .polling(let kind):
            var settings = PollingConsumer.Settings()
            settings.mark = kind
            self = .polling(PollingConsumer(settings))
        }
    }

    /// Whether it follows in this way. A server of another kind than the last one is followed by another, from the beginning.
    package func follows(by detection: ChangeDetection) -> Bool {
        switch (self, detection) {
        case (.contentSync, .contentSync), (.persistentSearch, .persistentSearch): true
        case (.polling(let consumer), .polling(let kind)): consumer.kind == kind
        case (.contentSync, _), (.persistentSearch, _), (.polling, _): false
        }
    }

    /// Whether what is mirrored is what the directory is, as far as can be.
    package var isLive: Bool {
        switch self {
        case .contentSync(let consumer): consumer.isLive
        case .persistentSearch(let consumer): consumer.isLive
        case .polling(let consumer): consumer.isLive
        }
    }

    /// When to call ``tick(now:)``.
    package var due: NIODeadline? {
        switch self {
        case .contentSync: nil
        case .persistentSearch(let consumer): consumer.due
        case .polling(let consumer): consumer.due
        }
    }

    /// - Parameter server: tells servers apart.
    package mutating func connected(to server: String, now: NIODeadline) -> [FeedEffect] {
        switch self {
        case .contentSync(var consumer):
            defer { self = .contentSync(consumer) }
            return consumer.connected()
        case .persistentSearch(var consumer):
            defer { self = .persistentSearch(consumer) }
            return consumer.connected()
        case .polling(var consumer):
            defer { self = .polling(consumer) }
            return consumer.connected(to: server, now: now)
        }
    }

    package mutating func disconnected() {
        switch self {
        case .contentSync(var consumer):
            consumer.disconnected()
            self = .contentSync(consumer)
        case .persistentSearch(var consumer):
            consumer.disconnected()
            self = .persistentSearch(consumer)
        case .polling(var consumer):
            consumer.disconnected()
            self = .polling(consumer)
        }
    }

    /// The next connection begins with everything: what is mirrored is not what was said (``SafetyBrake``).
    package mutating func readAnew() {
        switch self {
        case .contentSync(var consumer):
            consumer.forgetCookie()
            self = .contentSync(consumer)
        case .persistentSearch: break
        case .polling(var consumer):
            consumer.readAnew()
            self = .polling(consumer)
        }
    }

    package mutating func tick(now: NIODeadline) -> [FeedEffect] {
        switch self {
        case .contentSync: return []
        case .persistentSearch(var consumer):
            defer { self = .persistentSearch(consumer) }
            return consumer.tick(now: now)
        case .polling(var consumer):
            defer { self = .polling(consumer) }
            return consumer.tick(now: now)
        }
    }

    /// A message of another way to follow is none.
    package mutating func receive(_ messages: [FeedMessage], now: NIODeadline) -> [FeedEffect] {
        var effects: [FeedEffect] = []
        switch self {
        case .contentSync(var consumer):
            // So that its sets are changed where they are.
            self = .contentSync(SyncConsumer())
            for case .sync(let message) in messages { effects += consumer.receive(message) }
            self = .contentSync(consumer)
        case .persistentSearch(var consumer):
            self = .persistentSearch(PersistentSearchConsumer())
            for case .persistent(let message) in messages { effects += consumer.receive(message, now: now) }
            self = .persistentSearch(consumer)
        case .polling(var consumer):
            self = .polling(PollingConsumer())
            for case .polled(let message) in messages { effects += consumer.receive(message, now: now) }
            self = .polling(consumer)
        }
        return effects
    }
}
