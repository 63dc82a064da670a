"""Short and other forms of given names, in groups; the first of a group stands for all."""

_GROUPS = """
alexander alex alec sandy sasha alexandre alejandro alessandro aleksander xander
alexandra alex sandra sasha lexi alejandra alessandra
abigail abby gail
albert al bert bertie
alfred alf fred alfie
amanda mandy
andrew andy drew andreas andre andrea andres
anna ann anne annie anja ana anita
anthony tony anton antonio antoine
arthur art arturo
barbara barb babs bärbel
benjamin ben benny benji
bernard bernie bernhard bernd
brandon bran
bradley brad
caroline carol carrie carolina karoline
catherine kate cathy katherine kathy katie cat katharina katarina caterina kathleen
charles charlie chuck carl karl carlos chas
charlotte lotte charlie lottie
christian chris
christina tina chris christine kristina kristin
christopher chris kit christoph kris christophe
clifford cliff
cynthia cindy
daniel dan danny daniele
david dave davey
deborah deb debbie debra
dennis denny denis
dominic dom nick dominik dominique
donald don donnie
dorothy dot dottie dora dorothea
douglas doug
edward ed eddie ted ned edoardo eduard eduardo
eleanor ellie nell nora eleonora
elizabeth liz beth lisa betty eliza elisabeth elsa lizzy bess elisa
emily em emma emilia
eugene gene
florence flo
francis frank fran francesco francisco franz frankie
franklin frank
frances fran francesca franziska
frederick fred freddy friedrich fritz frederic federico
gabriel gabe
gabriella gabi gaby
george georg giorgio georges jorge
gerald gerry jerry gerhard gerd
geoffrey geoff jeff jeffrey
gregory greg grzegorz gregor
harold harry hal
helen nell helena elena helene
henry hank harry heinrich enrico henri enrique heinz
isabella bella isabel izzy isabelle
jacob jake jakob
jacqueline jackie
james jim jimmy jamie jaime
janet jan
jennifer jen jenny
jeremy jerry
jessica jess jessie
joanna jo joan johanna hanna
john jack johnny jon johannes hans jan jean juan giovanni ivan
jonathan jon jonny
joseph joe joey jose josef giuseppe pepe
joshua josh
judith judy
julia jule julie giulia juliet
kenneth ken kenny
kimberly kim
lawrence larry laurence lars lorenzo
leonard leo len lenny leonardo leonhard
louis lou luis luigi ludwig lewis
lucas luke lukas luca
margaret maggie meg peggy rita greta margarete margot
maria mary marie mia
mark marc markus marco marcus
martin marty martino
martha marty marta
matthew matt matthias matteo matthieu mateusz
maximilian max massimo
melissa mel missy
michael mike mick mickey michel miguel michele mikhail
michelle shelly
nathaniel nathan nate nat
nicholas nick nico nicolas niklas nicola nikolaus klaus
nicole nicky
oliver ollie
pamela pam
patricia pat patty trish patrizia tricia
patrick pat paddy
paul paolo pablo pavel
peter pete pedro pietro piotr petra
philip phil philipp filip felipe
raymond ray
rebecca becky becca
richard rick dick rich ricky riccardo ricardo
robert bob rob bobby bert roberto robbie
ronald ron ronnie
rudolf rudi rudy
russell russ
samantha sam sammy
samuel sam sammy
sarah sara sally
sebastian seb bastian
sophia sophie sofia
stephanie steph steffi stefanie
stephen steve steven stefan stefano stephan esteban
susan sue susie susanne suzanne
sylvester sly
teresa terry tess theresa tessa
theodore ted theo teddy
thomas tom tommy tomas tommaso
timothy tim timmy
tobias toby tobi
ulrich uli
valentina val
vanessa nessa
veronica ronnie vera
victor vic viktor vittorio
victoria vicky tori
vincent vince vinny vincenzo vinzenz
virginia ginny
walter walt wally
wilhelmina mina
william bill will billy liam wilhelm willy guillaume guillermo
wolfgang wolf
zachary zach zack
"""


def roots() -> list[tuple[str, str]]:
    """Return pairs of a form and what stands for its group; a form of several groups stands by its first."""
    found: dict[str, str] = {}
    for line in _GROUPS.split("\n"):
        for form in line.split():
            found.setdefault(form, line.split()[0])
    return sorted(found.items())
