import MartletCore
import MartletNetwork
import NIOCore
import NIOHTTP1

/// Texts that come by HTTP mean something or nothing; what they mean can be written, and means the same again. The first byte says which they are.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzWeb(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    guard let kind = bytes.first else { return 0 }
    let rest = Array(bytes.dropFirst())
    let text = String(decoding: rest, as: UTF8.self)
    switch kind % 6 {
    case 0: percent(rest, text)
    case 1: form(rest)
    case 2: range(rest)
    case 3:
        path(text)
        people(text)
    case 4: type(text)
    default: bucket(rest, text)
    }
    return 0
}

private func percent(_ bytes: [UInt8], _ text: String) {
    precondition(PercentEncoding.decoded(PercentEncoding.encoded(text).utf8) == Array(text.utf8), "encoded it is another text")
    guard let decoded = PercentEncoding.decoded(bytes) else { return }
    precondition(decoded.count <= bytes.count, "decoded it is longer")
}

private func form(_ bytes: [UInt8]) {
    guard let form = InvitationForm(ByteBuffer(bytes: bytes)) else { return }
    let fields = [("username", form.name), ("password", form.password), ("again", form.again)]
    let again = fields.map { "\($0)=\(PercentEncoding.encoded($1))" }.joined(separator: "&")
    precondition(InvitationForm(ByteBuffer(string: again)) == form, "written anew it is another form")
}

/// The first two bytes are the length of the file.
private func range(_ bytes: [UInt8]) {
    guard bytes.count > 2 else { return }
    let length = Int(bytes[0]) << 8 | Int(bytes[1])
    let fields = String(decoding: bytes.dropFirst(2), as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    var headers = HTTPHeaders()
    for (name, value) in zip(["Range", "If-Range", "If-None-Match", "If-Modified-Since"], fields) where !value.isEmpty { headers.add(name: name, value: value) }
    let asked = FileRequest.asked(headers, of: length, tag: "\"a\"", modified: "Sun, 06 Nov 1994 08:49:37 GMT", isGet: true)
    if case .part(let range) = asked { precondition(!range.isEmpty && range.lowerBound >= 0 && range.upperBound <= length, "a part that is not there") }
    let other = FileRequest.asked(headers, of: length, tag: "\"a\"", modified: "Sun, 06 Nov 1994 08:49:37 GMT", isGet: false)
    precondition(other == .whole || other == .notModified, "only GET asks for parts")
}

private func path(_ text: String) {
    let label = UploadPath.label(text)
    if !label.isEmpty {
        let path = UploadPath.path("00112233445566778899aabbccddeeff", label: label)
        precondition(UploadPath.name(in: path) == "00112233445566778899aabbccddeeff", "the label makes another file of it")
    }
    if let name = UploadPath.name(in: text) { precondition(UploadName.isValid(name), "a name that the server does not give") }
}

/// What is asked of the white pages, and what is shown there.
private func people(_ text: String) {
    if let query = PeopleQuery(uri: text) { precondition(PeopleQuery(uri: query.path) == query, "its link asks for something else") }
    if let names = PeopleEvents.localparts(uri: text) {
        let again = names.map(PercentEncoding.encoded).joined(separator: ",")
        precondition(PeopleEvents.localparts(uri: "\(PeoplePath.events)?ids=\(again)") == names, "written anew it is about others")
    }
    if let (photo, seal) = PeoplePhotoPath.read(text) { precondition(PeoplePhotoPath.read(photo.path(sealed: seal))?.photo == photo, "another photo") }
    let line = ShownText.line(text)
    precondition(ShownText.line(line) == line && line.unicodeScalars.count <= ShownText.scalarsMax + 1, "what is harmless is not")
    precondition(ShownText.escaped(line).utf8.allSatisfy { !"<>\"'".utf8.contains($0) }, "text is more than text")
}

private func type(_ text: String) {
    if let type = MediaType(text) { precondition(MediaType(type.description) == type && type.description.utf8.count <= MediaType.bytesMax, "another type") }
    if let pattern = MediaTypePattern(text) { precondition(MediaTypePattern(pattern.description) == pattern, "another pattern") }
}

private func bucket(_ bytes: [UInt8], _ text: String) {
    if let page = S3Listing(ByteBuffer(bytes: bytes)) { precondition(page.objects.values.allSatisfy { $0 >= 0 }, "a file of less than nothing") }
    precondition(S3Refusal(status: 403, ByteBuffer(bytes: bytes)).description.utf8.allSatisfy { 0x20...0x7E ~= $0 }, "a line breaks in the log")
    // It may lack a path, and be longer with one.
    if let url = HTTPURL(text), url.description.utf8.count <= HTTPURL.bytesMax { precondition(HTTPURL(url.description) == url, "another address") }
}
