package import MartletCore
package import MartletXML
package import MartletXMPP
import NIOCore

extension Namespace {
    package static let httpUpload: Namespace = "urn:xmpp:http:upload:0"
    /// What files are for (§5).
    package static let uploadPurpose: Namespace = "urn:xmpp:http:upload:purpose:0"
}

/// Gives the accounts of a domain slots for files, at an address of its own. The files come and go by HTTP: see ``Uploads``.
package struct HTTPFileUpload: RequestService {
    package static let specification = Specification.xep(363, "HTTP File Upload", version: "1.2.0")

    package struct Settings: Sendable {
        /// Whose accounts get slots.
        package var domain: BareJID
        package var name: String
        /// Where files are put and fetched, such as `https://example.org:5443`, without a slash at its end.
        package var url: String
        /// Largest file, as it is announced.
        package var fileBytesMax: Int

        package init(domain: BareJID, name: String = "File upload", url: String, fileBytesMax: Int) {
            self.domain = domain
            self.name = name
            self.url = url
            self.fileBytesMax = fileBytesMax
        }
    }

    private let settings: Settings
    private let uploads: Uploads

    package init(_ settings: Settings, _ uploads: Uploads) {
        self.settings = settings
        self.uploads = uploads
    }

    // MARK: Discovery (§3)

    package var identity: DiscoIdentity { DiscoIdentity("store", "file", name: settings.name) }

    package var disco: DiscoFeatures {
        let size = DiscoForm.Field("max-file-size", [String(settings.fileBytesMax)])
        var disco = DiscoFeatures(host: [.discoInfo, .discoItems, .httpUpload], hostForms: [DiscoForm(type: Namespace.httpUpload.name, fields: [size])])
        disco.hostNames = UploadPurpose.allCases.map { "\(Namespace.uploadPurpose.name)#\($0.name)" }
        return disco
    }

    package var routes: [IQRoute] {
        discovery + [
            // One at a time for each session: whoever asks for many waits for them.
            .suspending(.get, "request", .httpUpload, at: .host) { request, _ async throws(StanzaError) in try await slot(for: request) },
        ]
    }

    // MARK: Slots (§4)

    private func slot(for request: IQRequest) async throws(StanzaError) -> IQReply {
        let account = request.actor.bare
        guard account.domainpart == settings.domain.domainpart, !account.isDomain else {
            throw .forbidden("files are taken from accounts of \(settings.domain) only")
        }
        let wanted = try SlotRequest(request.child)
        do throws(SlotRefusal) {
            let slot = try await uploads.slot(for: wanted, of: account)
            return reply(slot, at: settings.url + UploadPath.path(slot.name, label: wanted.fileName))
        } catch {
            throw StanzaError(error)
        }
    }

    private func reply(_ slot: UploadSlot, at url: String) -> IQReply {
        IQReply { writer in
            writer.element("slot", .httpUpload) { writer in
                writer.element("put", .httpUpload, ["url": url]) { writer in
                    writer.element("header", .httpUpload, ["name": "Authorization"], text: "Bearer \(slot.token)")
                }
                writer.element("get", .httpUpload, ["url": url])
            }
        }
    }
}

// MARK: Requests

extension SlotRequest {
    /// - Throws: `bad-request` for what is none, and `not-acceptable` for a file that is larger than any.
    init(_ element: ElementView) throws(StanzaError) {
        guard let fileName = element.attribute("filename"), !fileName.isEmpty else { throw .badRequest("a file has a name") }
        guard fileName.utf8.count <= UploadSettings.fileNameBytesMax else {
            throw .badRequest("the name of a file has \(UploadSettings.fileNameBytesMax) bytes at most")
        }
        guard let size = element.attribute("size"), !size.isEmpty, size.utf8.allSatisfy({ (0x30...0x39).contains($0) }), size.contains(where: { $0 != "0" }) else {
            throw .badRequest("a file has a size, in bytes")
        }
        self.init(fileName: UploadPath.label(fileName), bytes: Int(size) ?? .max)
        if let text = element.attribute("content-type"), !text.isEmpty {
            guard let type = MediaType(text) else { throw .badRequest("the content type is none") }
            self.type = type
        }
        try readPurpose(element)
    }

    private mutating func readPurpose(_ element: ElementView) throws(StanzaError) {
        let purposes = element.children.filter { $0.isIn(.uploadPurpose) }
        guard let first = purposes.first else { return }
        guard purposes.count == 1 else { throw .badRequest("a file is for one purpose") }
        guard let purpose = UploadPurpose.allCases.first(where: { $0.name == first.localName }) else {
            throw StanzaError(.featureNotImplemented, text: "this purpose is not known here")
        }
        self.purpose = purpose
        guard purpose == .ephemeral else { return }
        guard let moment = first.attribute("expire-before").flatMap({ DateTime.milliseconds(of: $0) }) else {
            throw .badRequest("what is ephemeral has a last moment: expire-before")
        }
        expireBefore = moment
    }
}

// MARK: Errors (§6)

extension StanzaError {
    init(_ refusal: SlotRefusal) {
        switch refusal {
        case .tooLarge(let most):
            self.init(.notAcceptable, .modify, text: "File too large. The maximum file size is \(most) bytes")
            detail = Self.written { writer in
                writer.element("file-too-large", .httpUpload) { $0.element("max-file-size", .httpUpload, text: String(most)) }
            }
        case .typeNotTaken: self.init(.notAcceptable, .modify, text: "files of this type are not taken here")
        case .pastLastMoment: self.init(.notAcceptable, .modify, text: "the file would be gone already")
        case .quota(let quota, let retry):
            self.init(.resourceConstraint, .wait, text: Self.text(quota))
            if let retry { detail = Self.written { $0.element("retry", .httpUpload, ["stamp": DateTime.text(milliseconds: retry)]) } }
        case .noAccount: self.init(.forbidden, .auth)
        case .unavailable: self.init(.internalServerError, .wait)
        }
    }

    private static func written(_ content: (inout XMLWriter) -> Void) -> ByteBuffer {
        var writer = XMLWriter()
        content(&writer)
        return writer.buffer
    }

    private static func text(_ quota: SlotRefusal.Quota) -> String {
        switch quota {
        case .openSlots: "too many slots wait for their files"
        case .accountFiles: "Quota reached: too many files"
        case .accountBytes: "Quota reached: there is no room for so much"
        case .accountDayBytes: "Quota reached: too much within a day"
        case .domainBytes: "the server has no room for so much"
        case .domainDayBytes: "the server takes no more today"
        }
    }
}
