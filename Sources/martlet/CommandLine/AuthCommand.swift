import ArgumentParser

struct AuthCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "auth", abstract: "See who may log in how.", discussion: "This asks the running server.", subcommands: [Explain.self])

    struct Explain: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say by what an account may log in, and why.",
            discussion: """
                Tells for each mechanism whether a client would be offered it, whether the account may use it, and what decides: a rule of \
                login-rules, the domain, or what holds for everybody. What is offered although the account may not use it ends with \
                mechanism-too-weak, whatever the password. Then what is known of the account, and how long a log-in would wait now because of those that failed. \
                An account that does not exist can be asked about as well.
                """)
        @OptionGroup var options: ConfigurationOption
        @Argument(help: ArgumentHelp("The account.", valueName: "jid")) var address: String
        @Option(help: ArgumentHelp("From where the client connects; without it no rule about networks matches.", valueName: "address")) var from: String?
        @Option(help: ArgumentHelp("Where it connects, such as https or 'client 5222'; the first listener for clients, unless given.", valueName: "listener"))
        var listener: String?
        @Flag(name: .customLong("no-tls"), help: "Without TLS.") var isClear = false
        @Flag(name: .customLong("certificate"), help: "With a certificate that stands for the account.") var hasCertificate = false
        @Flag(help: "One JSON object.") var json = false

        func run() async throws {
            var question = LoginQuestion(account: address)
            question.address = from
            question.listener = listener
            question.isEncrypted = !isClear
            question.hasCertificate = hasCertificate
            guard case .login(let explanation) = try ServerReach.ask(.login(question), options) else { throw ServerReach.unexpected }
            Terminal.say(explanation, asJSON: json, else: explanation.text)
        }
    }
}
