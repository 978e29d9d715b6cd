import MartletCore
package import MartletXML
package import MartletXMPP
package import NIOCore

// What registrations and notifications look like on the wire and in the account's document.

// MARK: Registering

extension PushRegistration {
    /// Reads `<enable/>` (§5). Throws `bad-request` where something is missing, `jid-malformed` for a service that is no address,
    /// `policy-violation` for what is too long.
    package init(enable element: ElementView, by resource: String) throws(StanzaError) {
        let node = element.attribute("node")
        guard (node?.utf8.count ?? 0) <= Self.nodeBytesMax else { throw .policyViolation("a node may have \(Self.nodeBytesMax) bytes") }
        self.init(
            service: try Self.service(element), node: node, options: try Self.options(element), resource: resource,
            failures: element.attribute("failures").flatMap { Int($0) } ?? 0)
    }

    package static func service(_ element: ElementView) throws(StanzaError) -> JID {
        guard let text = element.attribute("jid") else { throw .badRequest("a push service has an address") }
        guard let service = try? JID(text) else { throw .jidMalformed }
        return service
    }

    private static func options(_ element: ElementView) throws(StanzaError) -> DataForm? {
        guard let form = element.firstChild("x", .dataForms) else { return nil }
        var limits = DataForm.Limits()
        limits.bytesMax = optionsBytesMax
        let options = try DataForm(form, limits: limits)
        guard options.kind == .submit, options.type == NodeConfiguration.publishOptionsType else {
            throw .badRequest("the form is a submission of publish options")
        }
        return options
    }
}

/// What a service says that no longer wants notifications (§8).
struct PushRemoval {
    /// `nil`: all of the service.
    let node: String?

    init?(_ message: ElementView) {
        guard let pubsub = message.firstChild("pubsub", .pubsub), let affiliation = pubsub.firstChild("affiliation", .pubsub),
            affiliation.attributeEquals("affiliation", "none")
        else { return nil }
        node = pubsub.attribute("node")
    }
}

// MARK: The document

extension PushDevices {
    /// As it is stored; `nil` if there is nothing to store.
    package var document: ByteBuffer? {
        guard !registrations.isEmpty else { return nil }
        var writer = XMLWriter(contentNamespace: .none)
        writer.element("registrations", .push) { writer in
            for registration in registrations { registration.write(to: &writer) }
        }
        return writer.buffer
    }

    /// What cannot be read is left out.
    package init(document: ByteBuffer) {
        self.init()
        guard let element = try? parseElement(document, limits: .ownWriting, defaultNamespace: .none) else { return }
        for child in element.root.children {
            guard let resource = child.attribute("resource"), let registration = try? PushRegistration(enable: child, by: resource) else { continue }
            enable(registration, countMax: .max)
        }
    }
}

extension PushRegistration {
    fileprivate func write(to writer: inout XMLWriter) {
        let failures = failures > 0 ? String(failures) : nil
        writer.element("enable", .push, ["jid": service.description, "node": node, "resource": resource, "failures": failures]) { writer in
            options?.write(to: &writer)
        }
    }
}

// MARK: Notifying

/// A notification for one device.
package struct PushNotification: Hashable, Sendable {
    package let id: String
    package let service: JID
    package let node: String?
    package let options: DataForm?
    package let summary: PushSummary

    /// The payload of the request (§7).
    package func write(to writer: inout XMLWriter, pendingSubscriptions: Int) {
        writer.element("pubsub", .pubsub) { writer in
            writer.element("publish", .pubsub, ["node": node]) { writer in
                writer.element("item", .pubsub) { writer in
                    writer.element("notification", .push) { summary.form(pendingSubscriptions: pendingSubscriptions).write(to: &$0) }
                }
            }
            guard let options else { return }
            writer.element("publish-options", .pubsub) { options.write(to: &$0) }
        }
    }
}

extension PushSummary {
    fileprivate func form(pendingSubscriptions: Int) -> DataForm {
        var fields = [
            DataForm.Field("message-count", nil, [String(count)]),
            DataForm.Field("pending-subscription-count", nil, [String(pendingSubscriptions)]),
        ]
        if let sender { fields.append(DataForm.Field("last-message-sender", nil, [sender.description])) }
        if let body { fields.append(DataForm.Field("last-message-body", nil, [body])) }
        return DataForm(.submit, type: Namespace.pushSummary, fields: fields)
    }
}
