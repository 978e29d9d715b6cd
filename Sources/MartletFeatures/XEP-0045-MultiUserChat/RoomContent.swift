import MartletCore
import MartletXML
import MartletXMPP
package import NIOCore

/// What a room is about (§8.1).
package struct RoomSubject: Hashable, Sendable {
    package var text: String
    /// Who set it.
    package var nickname: String
    /// Milliseconds since 1970.
    package var time: Int64

    package init(text: String, nickname: String, time: Int64) {
        self.text = text
        self.nickname = nickname
        self.time = time
    }
}

/// A room's configuration and subject as they are stored: the form that owners fill in, and what else there is, in XML.
struct RoomContent {
    var configuration = RoomConfiguration()
    var subject: RoomSubject?
    var isLocked = false
    var avatarHashes: [String] = []
    var hats: [Hat] = []
    /// ``RoomAffiliations/forgottenVersion``.
    var forgottenVersion: UInt64 = 0

    private static let namespace: Namespace = "urn:x-martlet:room"

    init(configuration: RoomConfiguration, subject: RoomSubject?, isLocked: Bool) {
        self.configuration = configuration
        self.subject = subject
        self.isLocked = isLocked
    }

    /// What cannot be read is as it is by default, and what may not be said is not public.
    init(_ record: RoomRecord) { self.init(record.content) }

    init(_ stored: ByteBuffer) {
        guard let element = try? parseElement(stored, limits: .ownWriting) else { return }
        // What was allowed once stays.
        var limits = RoomLimits()
        (limits.occupantsMax, limits.historyMax, limits.slowModeSecondsMax) = (.max, .max, .max)
        (limits.textBytesMax, limits.descriptionBytesMax) = (.max, .max)
        if let x = element.firstChild("x", .dataForms), let form = try? DataForm(x) { try? configuration.take(form, limits: limits) }
        isLocked = element.attribute("locked") != nil
        forgottenVersion = element.attribute("forgotten").flatMap { UInt64($0) } ?? 0
        avatarHashes = element.children.filter { $0.isNamed("avatar", Self.namespace) }.map(\.text)
        hats = element.children.filter { $0.isNamed("hat", Self.namespace) }.compactMap { hat in
            guard let uri = hat.attribute("uri"), let title = hat.attribute("title") else { return nil }
            return Hat(uri: uri, title: title, hue: hat.attribute("hue"))
        }
        guard let subject = element.firstChild("subject", Self.namespace) else { return }
        self.subject = RoomSubject(
            text: subject.text, nickname: subject.attribute("nickname") ?? "", time: subject.attribute("time").flatMap { Int64($0) } ?? 0)
    }

    var record: RoomRecord {
        var writer = XMLWriter()
        writer.element("room", Self.namespace, ["locked": isLocked ? "1" : nil, "forgotten": forgottenVersion > 0 ? String(forgottenVersion) : nil]) { writer in
            configuration.form(.submit, limits: RoomLimits()).write(to: &writer)
            for hash in avatarHashes { writer.element("avatar", Self.namespace, text: hash) }
            for hat in hats { writer.element("hat", Self.namespace, ["uri": hat.uri, "title": hat.title, "hue": hat.hue]) }
            guard let subject else { return }
            writer.element("subject", Self.namespace, ["nickname": subject.nickname, "time": String(subject.time)], text: subject.text)
        }
        return RoomRecord(
            isPersistent: configuration.isPersistent && !isLocked, isPublic: configuration.isPublic && !isLocked, name: configuration.name,
            description: configuration.description, content: writer.buffer)
    }
}

extension RoomConfiguration {
    /// - Parameter content: as stored (``RoomRecord/content``).
    package init(stored content: ByteBuffer) { self = RoomContent(content).configuration }
}
